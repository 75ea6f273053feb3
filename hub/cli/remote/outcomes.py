"""What became of modules: told, as JSON, and as an exit code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from hub.cli.failures import EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE, exit_code, report
from hub.cli.refusal import HubRefused
from hub.cli.remote.following import Followed
from hub.cli.terminal import Terminal, size
from hub.errors import ModhubError, ModuleNotFound

if TYPE_CHECKING:
    from hub.cli.remote.client import Client

_WORST_FIRST = (EXIT_USAGE, EXIT_FAILED, EXIT_REFUSED)


class OperationFailed(HubRefused):
    """An operation that was accepted has failed."""


@dataclass
class Outcome:
    """What became of a module.

    Attributes:
        module_id: the module.
        operation: what was asked for.
        op_id: the operation, where it was accepted.
        status: `done`, `failed`, or `accepted` where nobody waits.
        module: the module afterwards; `None` where the hub tracks it no more.
        obliterated: what was deleted.
        error: why it failed.
    """

    module_id: str
    operation: str
    op_id: str | None
    status: str
    module: dict[str, Any] | None = None
    obliterated: dict[str, Any] | None = None
    error: ModhubError | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the hub's answer to a bulk operation would be."""
        return {
            "module_id": self.module_id,
            "op_id": self.op_id,
            "status": self.status,
            "module": self.module,
            "obliterated": self.obliterated,
            "problem": None if self.error is None else problem_of(self.error),
        }


def conclude(client: Client, followed: Followed) -> Outcome:
    """Find out what became of an operation that has ended.

    Args:
        client: the hub.
        followed: the operation.
    """
    info = followed.info
    outcome = Outcome(followed.module_id, info["operation"], followed.op_id, "done")
    if followed.error is None and info["status"] != "done":
        followed.error = OperationFailed(_problem(info))
    if followed.error is not None:
        outcome.status, outcome.error = "failed", followed.error
        return outcome
    outcome.obliterated = info["obliterated"]
    if info["operation"] == "obliterate":
        return outcome
    try:
        outcome.module = client.get("hub", "modules", followed.module_id)
    except HubRefused as refusal:
        if refusal.status != 404:
            raise
    return outcome


def _problem(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation's failure as the call that waits for it would have been answered."""
    # A hub of before told neither apart from the text.
    hint, output = str(info.get("hint") or ""), str(info.get("output") or "")
    detail = str(info["error"] or f"it was {info['status']}")
    if output:
        detail = detail.removesuffix(f"\nlast output:\n{output}")
    if hint:
        detail = detail.removesuffix(f" ({hint})")
    return {"detail": detail, "code": info["error_code"], "status": 500, "hint": hint, "output": output}


def finish(outcomes: Sequence[Outcome], *, as_json: bool) -> int:
    """Tell about outcomes.

    Args:
        outcomes: one for each module.
        as_json: as one object.

    Returns:
        The exit code: that of the worst.
    """
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if as_json:
        listed = [outcome.as_json() for outcome in outcomes]
        click.echo(json.dumps({"ok": not failed, "outcomes": listed}, indent=2))
    else:
        terminal = Terminal.of()
        for outcome in outcomes:
            if outcome.error is None:
                mark = terminal.paint(terminal.symbols.ok, "green")
                terminal.write(f"{mark} {terminal.paint(outcome.module_id, bold=True)}  {_told(outcome)}")
    for outcome in failed:
        assert outcome.error is not None
        report(outcome.error, about=outcome.module_id)
    codes = {_exit_code(outcome.error) for outcome in failed if outcome.error is not None}
    return next((code for code in _WORST_FIRST if code in codes), 0)


def _exit_code(error: ModhubError) -> int:
    # A module that is not there is an error of who asks about it; what is to be done with it, its state refuses.
    missing = isinstance(error, HubRefused) and error.problem_code == ModuleNotFound.code
    return EXIT_REFUSED if missing else exit_code(error)


def problem_of(error: ModhubError) -> dict[str, Any]:
    """Return an error as the hub tells problems."""
    if isinstance(error, HubRefused):
        return {"code": error.problem_code, "detail": error.message, "hint": error.hint}
    return {"code": error.code, "detail": error.message, "hint": error.hint}


def _told(outcome: Outcome) -> str:
    if outcome.status == "accepted":
        return f"{outcome.operation}: operation {outcome.op_id}"
    if outcome.operation == "obliterate":
        gone = outcome.obliterated
        if gone is None:
            return "obliterated; nothing is left"
        what = f"{gone['blobs']} object{'' if gone['blobs'] == 1 else 's'}, {size(gone['bytes'])} in the backend"
        return f"obliterated: {what} and {size(gone['local_bytes'])} here; listed again: nothing is left"
    module = outcome.module
    if module is None:
        return "unprovisioned"
    where = module["url"] or ""
    return "  ".join(part for part in (module["state"], module["kind"], where) if part)
