"""The command `modhub`: one file, or one folder, a command group."""

from hub.cli.application import main

__all__ = ["main"]
