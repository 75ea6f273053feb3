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
class Item:
    """One of several things that a finding is about: local data of a module.

    Attributes:
        name: the module, or the directory's own name where it is none.
        directory: where it lies.
        bytes: what it takes on the disk.
        state: state of the module; as all below `None` where it is not known.
        kind: its kind.
        since: since when it is in that state, in UTC.
        base: the claim on the backend that the data grew from.
        pending: what the hub still has to do with it.
    """

    name: str
    directory: str
    bytes: int
    state: str | None = None
    kind: str | None = None
    since: str | None = None
    base: str | None = None
    pending: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was looked at, in a word or two.
        status: how it came out.
        message: what was found.
        advice: what to do; empty where there is nothing to do.
        items: what exactly was found, where it is several things.
    """

    check: str
    status: Status
    message: str
    advice: str = ""
    items: tuple[Item, ...] = ()


def ok(check: str, message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Status.OK, message)


def note(check: str, message: str, advice: str = "", items: tuple[Item, ...] = ()) -> Finding:
    """Return a finding that is neither good nor bad."""
    return Finding(check, Status.NOTE, message, advice, items)


def warn(check: str, message: str, advice: str, items: tuple[Item, ...] = ()) -> Finding:
    """Return a finding that will hurt some day."""
    return Finding(check, Status.WARN, message, advice, items)


def fail(check: str, message: str, advice: str) -> Finding:
    """Return a finding that keeps a hub from working."""
    return Finding(check, Status.FAIL, message, advice)
