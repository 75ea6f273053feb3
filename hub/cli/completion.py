"""`modhub completion`: what a shell needs to complete commands, options and names of modules."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that makes a shell complete commands, options and, from a running hub, names of modules.

    \b
    For bash, in ~/.bashrc:              eval "$(modhub completion bash)"
    For zsh, in ~/.zshrc:                eval "$(modhub completion zsh)"
    For fish, once:  modhub completion fish > ~/.config/fish/completions/modhub.fish
    """  # noqa: D301 - click's mark for a paragraph that is not to be wrapped
    made = get_completion_class(shell)
    assert made is not None  # click knows these shells
    click.echo(made(context.find_root().command, {}, "modhub", "_MODHUB_COMPLETE").source())
    return 0
