"""How a command fails: one line on stderr, a hint where there is one, and the exit code."""

from __future__ import annotations

import click

from hub.cli.refusal import HubRefused
from hub.cli.terminal import printable
from hub.errors import (
    InvalidConfig,
    InvalidModuleId,
    InvalidState,
    KindMismatch,
    LeaseHeld,
    ModhubError,
    StartFailed,
    UnknownKind,
)

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3

_USAGE = (InvalidConfig, InvalidModuleId, UnknownKind)
_REFUSED = (InvalidState, KindMismatch, LeaseHeld)


# The same where a hub told it over HTTP; beside them what no error of the hub's own stands for.
_USAGE_CODES = frozenset({error.code for error in _USAGE} | {"unauthenticated", "forbidden", "invalid-request"})
_REFUSED_CODES = frozenset(error.code for error in _REFUSED)


def exit_code(error: ModhubError) -> int:
    """Return the exit code of a command that an error ended."""
    if isinstance(error, HubRefused):
        if error.problem_code in _USAGE_CODES:
            return EXIT_USAGE
        return EXIT_REFUSED if error.problem_code in _REFUSED_CODES else EXIT_FAILED
    if isinstance(error, _USAGE):
        return EXIT_USAGE
    return EXIT_REFUSED if isinstance(error, _REFUSED) else EXIT_FAILED


def report(error: ModhubError, *, about: str = "") -> None:
    """Tell about an error on stderr.

    Args:
        error: the error.
        about: which of several things it is about.
    """
    message = "\n".join(printable(line) for line in error.message.splitlines())
    click.echo(f"error: {about}: {message}" if about else f"error: {message}", err=True)
    if isinstance(error, StartFailed | HubRefused) and error.output:
        click.echo("its last output:", err=True)
        for line in error.output.splitlines():
            click.echo(f"    {printable(line)}", err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(f"note: {note}", err=True)
    if error.hint:
        click.echo(f"hint: {printable(error.hint)}", err=True)


def report_usage(error: click.ClickException) -> None:
    """Tell about a command line that can't be used, on stderr, in the same form."""
    message = error.format_message()
    click.echo(f"error: {message[:1].lower()}{message[1:].rstrip('.')}", err=True)
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        click.echo(f"hint: {context.command_path} --help", err=True)
