"""Fail when a package on stdin (as `pip freeze` writes it) is not pinned in the constraints file."""

import re
import sys
from pathlib import Path

# The interpreter's own ensurepip brings these; nothing of ours asks for them.
BUNDLED = {"setuptools", "wheel"}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(lines: list[str]) -> set[str]:
    return {normalised(line.split("==")[0]) for line in lines if "==" in line}


pinned = names(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
missing = sorted(names(sys.stdin.read().splitlines()) - pinned - BUNDLED)
if missing:
    sys.exit(f"installed, but not pinned in {sys.argv[1]}: {', '.join(missing)}")
