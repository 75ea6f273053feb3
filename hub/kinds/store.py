"""How the embedded default kind is run: one process of the interpreter that runs the hub, nothing else installed."""

import sys
from pathlib import Path


def store_command() -> list[str]:
    """The store's command, with `{port}`, `{data_dir}` and `{checkpoint_dir}` to be filled in.

    Without site-packages, user settings and `PYTHON*` variables (`-I -S -E`): the store needs only the standard
    library, a start is quicker without them, and nothing in the environment can change what runs.
    """
    program = Path(__file__).parent / "objectstore" / "__main__.py"
    options = ["--port", "{port}", "--data-dir", "{data_dir}", "--checkpoint-dir", "{checkpoint_dir}"]
    return [sys.executable, "-I", "-S", "-E", str(program), *options]
