"""A hub in a process of its own, which a test can kill, stop and continue.

    python -m tests.hub.remote_host DATA_DIR BACKEND CLOCK_OFFSET OPTIONS

It takes calls as JSON lines, `[method, arguments]`, and prints JSON lines: what they return or raise, and every event.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from backends import Erased, RemoteModule
from backends.file import FileStore

PATIENCE_S = 40


class Refused(Exception):
    """What a call raised over there."""

    def __init__(self, name: str, message: str, retry_after_s: float | None) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.retry_after_s = retry_after_s


class RemoteHost:
    """The test's side of a host."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._changed = threading.Condition()
        self._lines: list[dict[str, Any]] = []
        self._replies: list[dict[str, Any]] = []
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="remote-host")
        self._reader.start()

    def _read(self) -> None:
        for line in self._stdout:
            told = json.loads(line)
            with self._changed:
                (self._lines if "event" in told else self._replies).append(told)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def tell(self, method: str, *arguments: str) -> None:
        """Call a method of the hub, whose outcome `reply` returns."""
        self._stdin.write(json.dumps([method, arguments]) + "\n")
        self._stdin.flush()

    def reply(self) -> dict[str, Any]:
        """Return the outcome of the oldest call that has not been asked for."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._replies or self._ended, PATIENCE_S)
            assert self._replies, "the host ended"
            reply = self._replies.pop(0)
        if "error" in reply:
            raise Refused(reply["error"], reply["message"], reply["retry_after_s"])
        return reply

    def call(self, method: str, *arguments: str) -> dict[str, Any]:
        """Call a method of the hub and return its module's info."""
        self.tell(method, *arguments)
        return self.reply()

    def all(self, event: str, **attributes: Any) -> list[dict[str, Any]]:
        """Return the events so far that have these attributes."""
        with self._changed:
            return [line for line in self._lines if line["event"] == event and attributes.items() <= line.items()]

    def wait(self, event: str, **attributes: Any) -> dict[str, Any]:
        """Wait for an event that has these attributes."""
        with self._changed:
            self._changed.wait_for(lambda: self.all(event, **attributes) or self._ended, PATIENCE_S)
            found = self.all(event, **attributes)
            assert found, (event, self._lines)
            return found[0]

    def stop(self) -> None:
        """Let no thread of the host run any more; its servers go on."""
        self._process.send_signal(signal.SIGSTOP)
        while Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            pass

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """As by kill -9."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._stdin.close()
        self._stdout.close()


@contextlib.contextmanager
def remote_host(data: Path, backend: str, *, clock_offset_s: float = 0.0, **options: Any) -> Generator[RemoteHost]:
    """Run a hub in a process of its own."""
    command = [sys.executable, "-m", __name__, str(data), backend, str(clock_offset_s), json.dumps(options)]
    host = RemoteHost(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    try:
        host.wait("hub.started")
        yield host
    finally:
        host.kill()


class _Printer(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(
            {
                "event": record.getMessage(),
                **{k: v for k, v in vars(record).items() if isinstance(v, str | int | float)},
            }
        )


def say(told: dict[str, Any]) -> None:
    # One write: lines of several threads must not mingle.
    os.write(1, (json.dumps(told) + "\n").encode())


def hold_puts(go_on: Path) -> None:
    """Let every write of a blob say so, and wait until there is a file."""
    put = FileStore.put

    def held(self: FileStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if "/blobs/" in key:
            say({"event": "held"})
            while not go_on.exists():
                time.sleep(0.005)
        return put(self, key, *args, **kwargs)

    setattr(FileStore, "put", held)  # noqa: B010 - type checkers mind an assignment to a method


def hold_end_of_erasure() -> None:
    """Let every erasure say so when it is done, and never return."""
    erase = RemoteModule.erase

    def held(self: RemoteModule, **options: Any) -> Erased:
        erase(self, **options)
        say({"event": "held"})
        threading.Event().wait()
        raise AssertionError("it is killed before")

    setattr(RemoteModule, "erase", held)  # noqa: B010 - as above


def main() -> None:
    data, backend, offset, options = sys.argv[1], sys.argv[2], float(sys.argv[3]), json.loads(sys.argv[4])
    wall, wall_ns = time.time, time.time_ns
    time.time = lambda: wall() + offset
    time.time_ns = lambda: wall_ns() + int(offset * 1e9)
    # Only now: nothing may have got hold of the right clock.
    from hub import Hub, ModhubError  # noqa: PLC0415
    from tests.hub.conftest import tiny_kind  # noqa: PLC0415

    logger = logging.getLogger("modhub")
    logger.addHandler(_Printer())
    logger.setLevel(logging.DEBUG)
    kind = tiny_kind(gateway=options.pop("gateway", False))
    with Hub(data, backend, kinds=[kind], default_kind="tiny", **options) as hub:
        for line in sys.stdin:
            method, arguments = json.loads(line)
            if method == "hold_puts":
                hold_puts(Path(arguments[0]))
                say({})
                continue
            if method == "hold_end_of_erasure":
                hold_end_of_erasure()
                say({})
                continue
            try:
                info = getattr(hub, method)(*arguments)
            except ModhubError as error:
                retry_after_s = getattr(error, "retry_after_s", None)
                say({"error": type(error).__name__, "message": str(error), "retry_after_s": retry_after_s})
            else:
                say(dataclasses.asdict(info) | {"data_dir": str(info.data_dir)})


if __name__ == "__main__":
    main()
