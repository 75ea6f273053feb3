"""Where a hub touches the world, wrapped so that each touch is a crash point: found by the edge, not by a list of steps.

The journal: each transaction, before its commit and when it is durable, while nobody has been told yet.
The backend: each call that changes something, before and after; each that reads, before.
The disk: each file, directory or link that is made, renamed or removed, before (after it is before the next one).
Processes: each start and each signal, before and after.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import backends
import hub.operations
import hub.transfers
from backends import BlobStore
from tests.faults.points import Trace, stable
from tests.hub.faulty import Faults, FaultyStore

_READS = frozenset({"get", "get_range", "list", "remains", "check"})
_DISK = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.rmdir": "rmdir",
    "os.mkdir": "mkdir",
    "os.link": "link",
    "os.symlink": "symlink",
    "os.truncate": "truncate",
}


def install(trace: Trace, root: Path, faults: Faults) -> list[str]:
    """Wrap every edge of this process, for good.

    Args:
        trace: what is told of each point.
        root: the directory of all that belongs to this run.
        faults: what fails in the backend.

    Returns:
        A list that grows by the name of each operation of the hub that is run.
    """
    _journal(trace)
    _backend(trace, faults)
    _disk(trace, root)
    _processes(trace)
    return _operations()


def _replace(module: ModuleType, name: str, by: object) -> None:
    """For this process alone, and for good; what is not there any more is told at once."""
    assert hasattr(module, name), f"{module.__name__} has no {name}"
    setattr(module, name, by)


def _journal(trace: Trace) -> None:
    class Connection(sqlite3.Connection):
        changes: list[str]

        def execute(self, sql: str, *parameters: Any) -> Any:
            word = sql.split(None, 1)[0].upper()
            if word == "BEGIN":
                self.changes = []
            elif word == "COMMIT":
                return self._committed(lambda: super(Connection, self).execute(sql))
            elif word in {"INSERT", "REPLACE", "UPDATE", "DELETE"}:
                self._note(word, parameters[0] if parameters else ())
            return super().execute(sql, *parameters)

        def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
            given = list(rows)
            for row in given:
                self._note(sql.split(None, 1)[0].upper(), row)
            return super().executemany(sql, given)

        def commit(self) -> None:
            self._committed(super().commit)

        def _committed(self, commit: Callable[[], Any]) -> Any:
            name = "journal:" + " ".join(getattr(self, "changes", ["?"]))
            trace.hit(f"{name}:before")
            result = commit()
            trace.hit(f"{name}:after")
            return result

        def _note(self, word: str, parameters: Any) -> None:
            if not hasattr(self, "changes"):
                self.changes = []
            self.changes.append(_row(word, list(parameters)))

    connect: Any = sqlite3.connect

    def traced(*args: Any, **options: Any) -> Any:
        return connect(*args, **{"factory": Connection} | options)

    _replace(sqlite3, "connect", traced)


def _row(word: str, parameters: list[Any]) -> str:
    """What a statement writes of a module, in few words."""
    for value in parameters:
        try:
            record = json.loads(value)
        except (TypeError, ValueError):
            continue
        if isinstance(record, dict) and "module_id" in record:
            flags = [flag for flag in ("dirty", "suspect", "parked") if record.get(flag)]
            flags += [f"pending-{record['pending']}"] if record.get("pending") else []
            return "+".join([f"{record['module_id']}={record.get('state', 'unprovisioned')}", *flags])
    subject = parameters[0] if parameters and isinstance(parameters[0], str) else "hub"
    return f"{stable(subject)}=gone" if word == "DELETE" else stable(subject)


class TracedStore(FaultyStore):
    """Each call of the backend is a crash point; inside of it, faults."""

    def __init__(self, store: BlobStore, faults: Faults, trace: Trace) -> None:
        super().__init__(store, faults)
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        attribute = super().__getattr__(name)
        if not callable(attribute) or name == "close":
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            about = stable(args[0]) if args and isinstance(args[0], str) else ""
            point = f"backend:{name} {about}".rstrip()
            if name in _READS:
                self._trace.hit(point)
                return attribute(*args, **kwargs)
            self._trace.hit(f"{point}:before")
            result = attribute(*args, **kwargs)
            self._trace.hit(f"{point}:after")
            return result

        return call


def _backend(trace: Trace, faults: Faults) -> None:
    opened: Callable[..., BlobStore] = backends.open_store

    def open_traced(uri: str, **options: Any) -> Any:
        return TracedStore(opened(uri, **options), faults, trace)

    _replace(hub.transfers, "open_store", open_traced)


def _disk(trace: Trace, root: Path) -> None:
    def shown(path: Any, directory: int) -> str | None:
        """A path below the root, None for others."""
        if isinstance(path, int):
            return None
        text: str = os.fsdecode(path)
        if not text.startswith("/") and directory >= 0:
            text = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), text)  # noqa: PTH118, PTH115 - a Path costs more
        if text.startswith("/"):
            if not text.startswith(f"{root}/"):
                return None
            text = text[len(str(root)) + 1 :]
        return stable(text)

    def heard(event: str, args: tuple[Any, ...]) -> None:
        if not trace.armed:
            return
        if event in _DISK:
            two = event in {"os.rename", "os.link"}
            directory = args[2] if two else args[-1] if event in {"os.remove", "os.rmdir", "os.mkdir"} else -1
            name = shown(args[0], directory)
            if name is None:
                return
            target = f" -> {shown(args[1], args[3])}" if two else ""
            trace.hit(f"disk:{_DISK[event]} {name}{target}")
        elif event == "open" and args[2] & (os.O_CREAT | os.O_TRUNC):
            name = shown(args[0], -1)
            if name is not None:
                trace.hit(f"disk:create {name}")

    sys.addaudithook(heard)


def _processes(trace: Trace) -> None:
    class Popen(subprocess.Popen[Any]):
        def __init__(self, args: Any, *rest: Any, **options: Any) -> None:
            command = [str(word) for word in args]
            program = command[command.index("--") + 1] if "--" in command else command[0]
            name = f"process:spawn {Path(program).name}"
            trace.hit(f"{name}:before")
            super().__init__(args, *rest, **options)
            trace.hit(f"{name}:after")

    _replace(subprocess, "Popen", Popen)

    def traced(send: Callable[..., Any]) -> Callable[..., Any]:
        def sent(whom: int, number: int, *rest: Any) -> Any:
            if not number:
                return send(whom, number, *rest)
            name = f"process:{signal.Signals(number).name}"
            trace.hit(f"{name}:before")
            result = send(whom, number, *rest)
            trace.hit(f"{name}:after")
            return result

        return sent

    _replace(os, "killpg", traced(os.killpg))
    _replace(signal, "pidfd_send_signal", traced(signal.pidfd_send_signal))


def _operations() -> list[str]:
    run: list[str] = []

    def noted(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def begin(*args: Any, **kwargs: Any) -> Any:
            run.append(name)
            return operation(*args, **kwargs)

        return begin

    for name in operation_names():
        setattr(hub.operations, name, noted(name, getattr(hub.operations, name)))
    return run


def operation_names() -> tuple[str, ...]:
    """Every operation that the hub has."""
    return tuple(name for name in hub.operations.__all__ if name != "Work")
