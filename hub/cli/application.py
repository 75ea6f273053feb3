"""The command group itself: version, help, and one way for every command to end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from hub._version import __version__
from hub.cli.backend import backend
from hub.cli.completion import completion
from hub.cli.demo import demo
from hub.cli.doctor import doctor
from hub.cli.failures import EXIT_FAILED, EXIT_USAGE, exit_code, report, report_usage
from hub.cli.interrupts import Interrupted
from hub.cli.remote import COMMANDS as REMOTE
from hub.cli.serve import serve
from hub.cli.token import token
from hub.errors import ModhubError

COMMANDS: tuple[click.Command, ...] = (demo, serve, *REMOTE, token, doctor, backend, completion)
"""Every command, in the order of the help page. A new one is added here."""


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="modhub", message="%(prog)s %(version)s")
@click.pass_context
def modhub(context: click.Context) -> None:
    """Run one server process per module, on demand, and keep its data in a backend.

    \b
    Examples:
      modhub demo                       watch it work, in a temporary directory
      modhub serve                      run a hub, with its HTTP API and dashboard
      modhub provision tenant-42        bring a module up there
      modhub status                     ... and see what there is
      modhub doctor                     is this machine fit to run modules?
      modhub doctor --config hub.toml   ... and this configuration?
      modhub backend ls                 which modules does the backend hold?
      modhub backend --help             ... and what else can be done there

    \b
    Exit codes:
      0 done   1 failed   2 wrong usage or configuration   3 refused in the module's state
    """  # noqa: D301 - click's mark for a paragraph that is not to be wrapped
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(EXIT_USAGE)


for command in COMMANDS:
    modhub.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what stands after `modhub`; `None` = as the process was called.

    Returns:
        The exit code.
    """
    try:
        result: object = modhub.main(
            args=None if arguments is None else list(arguments), prog_name="modhub", standalone_mode=False
        )
        sys.stdout.flush()
    except ModhubError as error:
        report(error)
        return exit_code(error)
    except click.ClickException as error:
        report_usage(error)
        return EXIT_USAGE if isinstance(error, click.UsageError) else EXIT_FAILED
    except Interrupted as interrupt:
        left_behind = "; ".join(getattr(interrupt, "__notes__", ())) or "nothing was left behind"
        click.echo(f"interrupted; {left_behind}", err=True)
        return 128 + interrupt.number
    except click.Abort:
        return 130
    except BrokenPipeError:
        # The reader has gone (`modhub ... | head`); Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return result if isinstance(result, int) else 0
