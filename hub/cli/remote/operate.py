"""`modhub provision`, `hibernate`, `wake`, `deprovision` and `checkpoint`: one operation on modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from hub.cli.interrupts import Interrupted
from hub.cli.progress import progress_bar
from hub.cli.refusal import HubRefused
from hub.cli.remote.following import Followed, follow, telling_what_goes_on
from hub.cli.remote.options import hub_options, json_option, module_argument
from hub.cli.remote.outcomes import Outcome, conclude, finish

if TYPE_CHECKING:
    from hub.cli.remote.client import Client

Start = Callable[[str], dict[str, Any]]


def run_operation(
    client: Client,
    operation: str,
    names: Sequence[str],
    start: Start,
    *,
    timeout: float | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Start an operation on modules, wait for all of them, and tell.

    Args:
        client: the hub.
        operation: its name.
        names: the modules.
        start: asks the hub for it on one module; returns the operation.
        timeout: seconds to wait.
        wait: whether to wait at all.
        as_json: how to tell.

    Returns:
        The exit code.
    """
    outcomes: dict[str, Outcome] = {}
    followed: list[Followed] = []
    with progress_bar(names[0] if len(names) == 1 else operation) as bar, telling_what_goes_on(followed):
        for name in names:
            try:
                info = start(name)
            except HubRefused as refusal:
                outcomes[name] = Outcome(name, operation, None, "failed", error=refusal)
            except Interrupted as interrupt:
                # Sent, and not answered: the hub may be at it.
                interrupt.add_note(f"{operation} of {name} may go on, `modhub operations` shows it")
                raise
            else:
                outcomes[name] = Outcome(name, operation, str(info["op_id"]), "accepted")
                followed.append(Followed(name, info))
        if wait:
            follow(client, followed, timeout_s=timeout, bar=bar)
    if wait:
        outcomes |= {operation.module_id: conclude(client, operation) for operation in followed}
    return finish([outcomes[name] for name in names], as_json=as_json)


def waiting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--timeout` and `--no-wait`, passed as `timeout` and `wait`."""
    options = (
        click.option(
            "--timeout", type=click.FloatRange(min=0.0), metavar="S", help="Wait so many seconds at the most."
        ),
        click.option(
            "--no-wait", "wait", flag_value=False, default=True, help="Do not wait; print the operation's id."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _command(name: str, short: str, long: str) -> click.Command:
    def run(
        client: Client,
        *,
        names: tuple[str, ...],
        timeout: float | None,
        wait: bool,
        as_json: bool,
        kind: str | None = None,
    ) -> int:
        body: Mapping[str, Any] | None = None if kind is None else {"kind": kind}

        def start(module_id: str) -> dict[str, Any]:
            answer: dict[str, Any] = client.post(
                "hub", "modules", module_id, name, body=body, wait=False, timeout=timeout or None
            )
            return answer

        return run_operation(client, name, names, start, timeout=timeout, wait=wait, as_json=as_json)

    run.__doc__ = long
    decorated = hub_options(run)
    for decorate in (json_option, waiting_options):
        decorated = decorate(decorated)
    if name == "provision":
        decorated = click.option("--kind", metavar="K", help="What they run; else what is recorded, else the default.")(
            decorated
        )
    decorated = module_argument("names", metavar="NAME...", nargs=-1)(decorated)
    return click.command(name, short_help=short, help=long)(decorated)


provision = _command(
    "provision",
    "Bring modules up.",
    "Bring modules up: fetch their data and start their servers, or wake or recover them.\n\n"
    "Where one is up already nothing is done. Prints where each is found.",
)
hibernate = _command("hibernate", "Put modules to sleep.", "Stop modules' servers and keep their data here.")
wake = _command("wake", "Wake modules.", "Start hibernated modules' servers on the data that was kept.")
deprovision = _command(
    "deprovision", "Send modules' data home.", "Stop modules' servers, send their data to the backend, delete it here."
)
checkpoint = _command(
    "checkpoint",
    "Send copies of modules' data home.",
    "Send copies of modules' data to the backend, while they go on as they are.",
)
