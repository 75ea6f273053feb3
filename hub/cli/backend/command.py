"""The command group: what can be done with a backend that no hub runs on."""

from __future__ import annotations

from typing import Any

import click

from hub.cli.backend.cat import cat
from hub.cli.backend.du import du
from hub.cli.backend.erase import erase
from hub.cli.backend.ls import ls
from hub.cli.backend.verify import verify
from hub.cli.backend.work import translated
from hub.cli.failures import EXIT_USAGE

COMMANDS: tuple[click.Command, ...] = (ls, verify, cat, du, erase)
"""Every command, in the order of the help page."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were added: from harmless to not."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, whose errors come from several places, with one way to tell them."""
        with translated():
            return super().invoke(ctx)


@click.group(
    cls=_Commands, invoke_without_command=True, short_help="Look into a backend, or erase from it, without a hub."
)
@click.pass_context
def backend(context: click.Context) -> None:
    """Look into a backend, or erase from it, without a hub.

    All but `erase` only read, and may run beside a hub. The backend is named by --backend, by a configuration file, or
    by MODHUB_BACKEND.

    \b
    Examples:
      export MODHUB_BACKEND=file:///srv/modhub
      modhub backend ls                           which modules are there?
      modhub backend ls tenant-42 logs            what is in that directory of one?
      modhub backend verify tenant-42             is every blob of it intact?
      modhub backend cat tenant-42 app.db -o app.db
      modhub backend du                           what takes the space?
      modhub backend erase tenant-42              remove it, and prove it
    """  # noqa: D301 - click's mark for a paragraph that is not to be wrapped
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(EXIT_USAGE)


for command in COMMANDS:
    backend.add_command(command)
