"""What the doctor finds: one line each, with what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Status(enum.StrEnum):
    """How a check came out. Only `FAIL` makes the command fail."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was looked at, in a word or two.
        status: how it came out.
        message: what was found.
        advice: what to do; empty where there is nothing to do.
    """

    check: str
    status: Status
    message: str
    advice: str = ""


def ok(check: str, message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Status.OK, message)


def note(check: str, message: str, advice: str = "") -> Finding:
    """Return a finding that is neither good nor bad."""
    return Finding(check, Status.NOTE, message, advice)


def warn(check: str, message: str, advice: str) -> Finding:
    """Return a finding that will hurt some day."""
    return Finding(check, Status.WARN, message, advice)


def fail(check: str, message: str, advice: str) -> Finding:
    """Return a finding that keeps a hub from working."""
    return Finding(check, Status.FAIL, message, advice)
