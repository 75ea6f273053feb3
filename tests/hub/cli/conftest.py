from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Modhub = Callable[..., "subprocess.CompletedProcess[str]"]


def clean_environment(tmp: Path, extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODHUB_", "COLUMNS"))}
    return {**kept, "TMPDIR": str(tmp), "PYTHONWARNINGS": "error", **extra}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """The command's temporary directory: what it leaves there is seen."""
    path = tmp_path / "scratch"
    path.mkdir()
    return path


@pytest.fixture
def modhub(scratch: Path) -> Modhub:
    """Runs the real command in a process of its own."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hub.cli", *arguments],
            env=clean_environment(scratch, environment),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MODHUB_")]:
        monkeypatch.delenv(name)
