"""A hub at work in a process that is going to be killed, and the ledger that tells afterwards what must be found."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub import Hub, Kind, ModuleInfo, ModuleNotFound, State
from tests.hub.conftest import tiny_kind
from tests.hub.faulty import Faults
from tests.hub.resp import command
from tests.hub.tiny_client import get, put

PATIENCE_S = 20.0
SETTLED = frozenset({State.PROVISIONED, State.HIBERNATED})


def kinds(*, sound: bool) -> list[Kind]:
    """The kinds of the scenarios; `sound` = under the same names, none that fails."""
    return [
        tiny_kind(),
        tiny_kind("broken", *([] if sound else ["--broken"])),
        tiny_kind("fragile", *([] if sound else ["--broken-once-used"])),
        tiny_kind("forking", *([] if sound else ["--fork"])),
        tiny_kind("reached", gateway=True),
        tiny_kind("copying", checkpoint=["sh", "-c", 'cp -a "$1/." "$2/"', "sh", "{data_dir}", "{checkpoint_dir}"]),
    ]


def write(info: ModuleInfo, value: str) -> None:
    """Store a value; returns when it is acknowledged."""
    if info.kind == "redis":
        assert info.port is not None
        command(info.port, "SET", "k", value)
    else:
        put(info, "k", value)


def read(info: ModuleInfo) -> str | None:
    """The value that a module holds."""
    if info.kind == "redis":
        assert info.port is not None
        return command(info.port, "GET", "k")
    return get(info, "k")


@dataclass
class Expectation:
    """What a module may hold.

    Attributes:
        possible: the last acknowledged write, each sent after it, nothing from the asking for an obliteration on.
        told: the state that was last told of it.
        obliterated: nothing was written since an obliteration that was acknowledged, or begun before a kill.
        gateway_port: its stable port, of which the hub told, and which no obliteration that was asked for may have taken.
    """

    possible: set[str | None] = field(default_factory=lambda: {None})
    told: str = State.UNPROVISIONED.value
    obliterated: bool = False
    gateway_port: int | None = None

    def read(self, word: str, text: str) -> None:
        match word:
            case "set":
                self.possible.add(text)
                self.obliterated = False
            case "ack":
                self.possible = {text}
            case "gone":
                self.possible.add(None)
                self.gateway_port = None
            case "doomed" | "obliterated":
                self.possible = {None}
                self.obliterated = True
            case "told":
                self.told = text
            case "port":
                self.gateway_port = int(text)
            case _:
                raise ValueError(word)


class Ledger:
    """Lines outside of the hub: before and after each thing that matters, in the order in which they happened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, word: str, module_id: str, text: str = "-") -> None:
        # One write: neither a kill nor another thread comes between.
        os.write(self._descriptor, f"{word} {module_id} {text}\n".encode())

    def expectations(self) -> dict[str, Expectation]:
        expected: dict[str, Expectation] = {}
        for line in self.path.read_text().splitlines():
            word, module_id, text = line.split(" ")
            expected.setdefault(module_id, Expectation()).read(word, text)
        return expected


class _Told(logging.Handler):
    """Notes each state that the hub tells of."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() in {"module.transition", "module.resolved"}:
            given = vars(record)
            self._ledger.note("told", given["module_id"], given["to_state"])


def log_to(ledger: Ledger) -> None:
    """Note what the hub tells, from now on."""
    logger = logging.getLogger("modhub")
    logger.addHandler(_Told(ledger))
    logger.setLevel(logging.INFO)


class Rig:
    """What a scenario works with.

    Args:
        root: directory for the hub, its backend and the ledger.
        faults: what fails in the backend.
    """

    def __init__(self, root: Path, faults: Faults) -> None:
        self.root = root
        self.faults = faults
        self.ledger = Ledger(root / "ledger")
        self.hub: Hub
        self._written = 0

    def start(self, **options: Any) -> Hub:
        """Start a hub that does by itself only what the scenario wants."""
        self.hub = open_hub(self.root, kinds=kinds(sound=False), **{"retry_delay": 3600.0} | options).start()
        return self.hub

    def write(self, module_id: str = "m") -> None:
        info = self.hub.module(module_id)
        self._written += 1
        value = f"{os.getpid()}-{self._written}"
        self.ledger.note("set", module_id, value)
        write(info, value)
        self.ledger.note("ack", module_id, value)

    def provision(self, module_id: str = "m", kind: str | None = None) -> None:
        info = self.hub.provision(module_id, kind=kind)
        if info.gateway_port is not None:
            self.ledger.note("port", module_id, str(info.gateway_port))

    def obliterate(self, module_id: str = "m") -> None:
        self.ledger.note("gone", module_id)
        self.hub.obliterate(module_id)
        self.ledger.note("obliterated", module_id)

    def kill_child(self, module_id: str = "m") -> int:
        pid = self.hub.module(module_id).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid


def open_hub(root: Path, **options: Any) -> Hub:
    """A hub on a run's directories, its threads few, so that they pass their points in one order."""
    defaults: dict[str, Any] = {
        "default_kind": "tiny",
        "restart_delay": 0.0,
        "retry_delay_max": 3600.0,
        "transfer_threads": 1,
        "max_transfers": 1,
    }
    return Hub(root / "data", f"file://{root}/backend", **defaults | options)


def await_that(condition: Callable[[], bool], what: Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds that no single event tells of."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what())
        time.sleep(0.002)


def settled(hub: Hub, module_id: str) -> bool:
    """Whether the hub has nothing more to do with a module."""
    try:
        return hub.module(module_id).state in SETTLED
    except ModuleNotFound:
        return True


def settle(hub: Hub) -> None:
    """Wait until the watchdog has nothing more to do."""
    await_that(
        lambda: all(settled(hub, info.module_id) for info in hub.modules()), lambda: f"unsettled: {hub.modules()}"
    )
