"""How a running Redis is copied: by a program of its own, which Redis itself has none of."""

from __future__ import annotations

import sys
from pathlib import Path


def checkpoint_command() -> list[str]:
    """The command that copies a running Redis, with `{port}`, `{data_dir}` and `{checkpoint_dir}` to be filled in.

    As the store's: with the standard library alone, and nothing in the environment that can change what runs.
    """
    program = Path(__file__).parent / "checkpoint.py"
    return [sys.executable, "-I", "-S", "-E", str(program), "{port}", "{data_dir}", "{checkpoint_dir}"]
