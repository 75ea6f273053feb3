"""How PostgreSQL is run: shell scripts that find its programs and become them.

Scripts, since a version must be chosen by what the data is of, on the machine that the data has come to. Not in Python,
which takes fifteen times as long to start, and whose files the server's user often may not read. They are handed to `sh`
as text, for the same reason.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

# Where Debian and Red Hat keep versions side by side, outside of PATH.
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")


def init_command(places: tuple[str, ...] = PLACES) -> list[str]:
    """The command that makes a cluster, with `{data_dir}` to be filled in; what is appended goes to initdb."""
    return ["sh", "-c", _script("init", places), "init-postgres", "{data_dir}"]


def start_command(places: tuple[str, ...] = PLACES) -> list[str]:
    """The server's command, with `{data_dir}` and `{port}` to be filled in; what is appended goes to the server."""
    return ["sh", "-c", _script("start", places), "start-postgres", "{data_dir}", "{port}"]


def _script(name: str, places: tuple[str, ...]) -> str:
    folder = Path(__file__).parent
    parts = (f"places={shlex.quote(' '.join(places))}\n", *((folder / f"{n}.sh").read_text() for n in ("find", name)))
    # Braces are placeholders of a kind's command.
    return "".join(parts).replace("{", "{{").replace("}", "}}")


def find_program(path: str | None) -> str | None:
    """Return a server that the scripts would find, of whatever version.

    Args:
        path: where programs are looked for first; `None` = `PATH`.
    """
    beside = sorted(str(file) for place in PLACES for file in Path("/").glob(f"{place[1:]}/postgres"))
    return shutil.which("postgres", path=path) or next(iter(beside), None)
