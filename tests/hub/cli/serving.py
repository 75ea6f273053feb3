"""A real `modhub serve` in a process of its own, and the command line as a user has it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hub.cli.application import main
from hub.instance.procfs import read_stat
from tests.hub.cli.conftest import clean_environment

DEADLINE_S = 20.0


class Served:
    """A server that runs.

    Attributes:
        url: where it is.
        process: its process.
    """

    def __init__(self, process: subprocess.Popen[str], folder: Path, log: Path) -> None:
        self.process, self.folder, self._log = process, folder, log
        until(lambda: self.events() or process.poll() is not None, "the first line of the log")
        assert process.poll() is None, log.read_text()
        self.first = self.events()[0]
        self.url = str(self.first["url"])
        until(lambda: self.told("http.listening") or process.poll() is not None, "it listens")
        assert process.poll() is None, log.read_text()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def events(self) -> list[dict[str, Any]]:
        lines = self.log.splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def told(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["event"] == name]

    def cli(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return called(*arguments, **{"MODHUB_URL": self.url, **environment})

    def json(self, *arguments: str, **environment: str) -> Any:
        done = self.cli(*arguments, "--json", **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=DEADLINE_S) as answer:
            body: bytes = answer.read()
            return body

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hub.cli", *arguments]


def called(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which spares the interpreter's start; for what needs no terminal and no signal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODHUB_", "COLUMNS"))}
    out, err = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, kept | environment, clear=True), redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def modhub(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env=clean_environment(folder, environment),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@contextmanager
def served(folder: Path, *arguments: str, config: str = "", **environment: str) -> Generator[Served]:
    """Serve below a folder, on a free port, until the block ends; nothing of it is left then."""
    file = folder / "modhub.toml"
    file.write_text(f'data_dir = "{folder}/data"\nbackend = "file://{folder}/backend"\n{config}')
    file.chmod(0o600)
    log = folder / f"serve-{time.monotonic_ns()}.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command("serve", "--config", str(file), "--port", "0", "--log-format", "json", *arguments),
            env=clean_environment(folder, environment),
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    try:
        yield Served(process, folder, log)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE_S)
        finally:
            process.kill()
            process.wait()


def runs(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.state != "Z"
