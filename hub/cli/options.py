"""Options that several commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def configuration_options(command: F) -> F:
    """Give a command `--config`, `--data-dir` and `--backend`, passed as `config`, `data_dir` and `backend`."""
    options = (
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration, a TOML file."),
        click.option("--data-dir", metavar="DIR", help="The hub's data directory; wins over the file."),
        click.option("--backend", metavar="URI", help="The backend; wins over the file."),
    )
    for option in reversed(options):
        command = option(command)
    return command
