"""The commands that ask a running hub, over HTTP."""

from hub.cli.remote.commands import COMMANDS

__all__ = ["COMMANDS"]
