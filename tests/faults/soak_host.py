"""A host under random load, until somebody ends or kills it.

    python -m tests.faults.soak_host ROOT SEED [verify] [sabotage=NAME]

With `verify` it works no further: it compares all that there is with the book, and obliterates every module.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import http.client
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import backends
import hub.transfers
from backends import BackendUnavailable, BlobStore, encode_module_id
from hub import BackendError, Hub, InvalidState, ModhubError, ModuleInfo, OperationTimeout
from hub.config import HubConfig
from tests.faults.book import KEYS, Writer, content
from tests.faults.sabotage import SABOTAGES
from tests.hub.faulty import METHODS
from tests.hub.resp import RedisError, command

OWNERS, EACH = 4, 3
MODULES = tuple(f"m{number}" for number in range(OWNERS * EACH))
HANGS_S = 90.0
STUCK_S = 60.0
OPTIONS: dict[str, Any] = {
    "idle_timeout": 4.0,
    "hibernated_timeout": 6.0,
    "sweep_interval": 0.25,
    "live_interval": 0.5,
    "live_timeout": 0.5,
    "restart_delay": 0.02,
    "restart_period": 10.0,
    "retry_delay": 0.05,
    "retry_delay_max": 0.5,
    "breaker_delay": 0.05,
    "breaker_delay_max": 0.5,
}


def kind_of(module_id: str) -> str:
    return ("store", "redis")[MODULES.index(module_id) % 2]


def put(info: ModuleInfo, key: str, value: str) -> None:
    """Store a value; returns when it is acknowledged."""
    assert info.port is not None
    if info.kind == "redis":
        command(info.port, "SET", key, value, timeout=20)
        return
    status, _ = _request(info.port, "PUT", key, value.encode())
    if status not in {200, 201, 204}:
        raise OSError(f"the store answered {status}")


def get(info: ModuleInfo, key: str) -> str | None:
    """The value of a key."""
    assert info.port is not None
    if info.kind == "redis":
        return command(info.port, "GET", key, timeout=20)
    status, body = _request(info.port, "GET", key, None)
    if status not in {200, 404}:
        raise OSError(f"the store answered {status}")
    return body.decode() if status == 200 else None


def _request(port: int, method: str, key: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, f"/blobs/{key}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"the store answered no HTTP: {error!r}") from error
    finally:
        connection.close()


class Weather:
    """What the backend is like, as a file says that others write: `down`, `flaky`, `slow`, or nothing.

    Args:
        store: the backend itself.
        path: the file.
    """

    def __init__(self, store: BlobStore, path: Path) -> None:
        self._store = store
        self._path = path
        self._chance = random.Random(os.getpid())

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if name not in METHODS:
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            weather = self._look()
            if weather == "down" or (weather == "flaky" and self._chance.random() < 0.1):
                raise BackendUnavailable("injected")
            if weather == "slow":
                time.sleep(self._chance.random() * 0.05)
            result = attribute(*args, **kwargs)
            if weather == "flaky" and self._chance.random() < 0.1:
                raise BackendUnavailable("injected: done, and not acknowledged")
            return result

        return call

    def _look(self) -> str:
        try:
            return self._path.read_text()
        except FileNotFoundError:
            return ""


class Worker:
    """One thread's work.

    Args:
        hub: the hub.
        root: the soak's directory.
        writer: the book.
        numbers: gives numbers that nobody has written.
        seed: of its choices.
    """

    def __init__(self, hub: Hub, root: Path, writer: Writer, numbers: Callable[[], int], seed: int) -> None:
        self.hub = hub
        self.root = root
        self.writer = writer
        self.numbers = numbers
        self.chance = random.Random(seed)
        self.ends = threading.Event()

    def own(self, modules: tuple[str, ...]) -> None:
        """Write, read back, obliterate: what only one at a time may do to a module, so that it knows what to find."""
        actions = {"write": 10, "verify": 6, "hibernate": 2, "wake": 2, "deprovision": 2, "obliterate": 1}
        if hasattr(self.hub, "checkpoint"):
            actions["checkpoint"] = 2
        while not self.ends.is_set():
            module_id = self.chance.choice(modules)
            (action,) = self.chance.choices(tuple(actions), tuple(actions.values()))
            self.do(action, module_id)

    def meddle(self) -> None:
        """Come in between: what may happen to any module at any time."""
        while not self.ends.wait(self.chance.random() * 0.2):
            action = self.chance.choice(("hibernate", "wake", "deprovision", "touch", "module", "modules"))
            self.do(action, self.chance.choice(MODULES))

    def do(self, action: str, module_id: str) -> None:
        outcome = "done"
        try:
            match action:
                case "write":
                    self.write(module_id)
                case "verify":
                    self.verify(module_id)
                case "obliterate":
                    self.obliterate(module_id)
                case "touch" | "module":
                    getattr(self.hub, action)(module_id)
                case "modules":
                    self.hub.modules()
                case operation:
                    getattr(self.hub, operation)(module_id, timeout=HANGS_S)
        except OperationTimeout as error:
            outcome = "hung"
            self.writer.note("lost", action, f"of {module_id} hangs: {error}")
        except (ModhubError, RedisError, OSError) as error:
            outcome = type(error).__name__
        except Exception as error:
            outcome = "defect"
            self.writer.note("lost", action, f"of {module_id}: {error!r}".replace("\n", " "))
        self.writer.note("did", action, outcome)
        if outcome != "done":  # as callers do: a refusal takes no time, and would be all that there is
            self.ends.wait(0.02)

    def provision(self, module_id: str) -> ModuleInfo:
        return self.hub.provision(module_id, kind=kind_of(module_id), timeout=HANGS_S)

    def write(self, module_id: str) -> None:
        info = self.provision(module_id)
        key, number = self.chance.choice(KEYS), self.numbers()
        self.writer.note("set", f"{module_id}/{key}", str(number))
        put(info, key, content(number))
        self.writer.note("ack", f"{module_id}/{key}", str(number))

    def verify(self, module_id: str) -> None:
        info = self.provision(module_id)
        for key in KEYS:
            subject = f"{module_id}/{key}"
            value = get(info, key)
            number = None if value is None else int(value.partition(":")[0])
            possible = self.writer.book.of(subject)
            if number not in possible or (number is not None and value != content(number)):
                shown = None if value is None else f"{value:.40}"
                self.writer.note("lost", subject, f"holds {shown}, and may hold {sorted(map(str, possible))}")
            self.writer.note("verified", subject, str(len(value or "")))
            # What was found is the truth from now on.
            self.writer.note("ack", subject, "-" if number is None else str(number))

    def obliterate(self, module_id: str) -> None:
        self.writer.note("gone", module_id)
        try:
            done = self.hub.obliterate(module_id, timeout=HANGS_S)
        except BackendError:
            self.writer.note("doomed", module_id)
            raise
        self.writer.note("obliterated", module_id)
        encoded = encode_module_id(module_id)
        places = [
            self.root / "backend" / encoded,
            self.root / "data/modules" / encoded,
            self.root / "data/logs" / encoded,
        ]
        left = [place for place in places if place.exists()]
        if left or done.remaining:
            self.writer.note("lost", module_id, f"was obliterated, and {left} is there")

    def verify_and_obliterate(self) -> None:
        """At the end: all is as the book says, and all of it can be destroyed."""
        for module_id in MODULES:
            for attempt in itertools.count():
                try:
                    self.verify(module_id)
                    self.obliterate(module_id)
                    break
                except (InvalidState, OSError) as error:  # an obliteration goes on; or it has just been killed
                    if attempt > 200:
                        self.writer.note("lost", module_id, f"does not come to rest: {error}")
                        break
                    time.sleep(0.05)
        ports = attrgetter("_hub._runtime._services.runner._ports.held")(self.hub)
        if ports:
            self.writer.note("lost", "ports", f"{set(ports)} are held for nobody")


def main() -> None:
    root, seed, verifies = Path(sys.argv[1]), int(sys.argv[2]), "verify" in sys.argv
    chance = random.Random(seed)
    writer = Writer(root / "book")
    opened: Callable[..., BlobStore] = backends.open_store

    def open_store(uri: str, **options: Any) -> Any:
        return Weather(opened(uri, **options), root / "weather")

    assert hasattr(hub.transfers, open_store.__name__)
    setattr(hub.transfers, open_store.__name__, open_store)
    for word in sys.argv[3:]:
        if word.startswith("sabotage="):
            SABOTAGES[word.partition("=")[2]]()
    # Not an event: a handler that sets it may find it locked, by the very thread that it interrupted.
    asked, ask = os.pipe()

    def end(number: int, frame: object) -> None:
        os.write(ask, b"e")

    signal.signal(signal.SIGTERM, end)
    choices: tuple[str, ...] = HubConfig.__dataclass_fields__["on_exit"].metadata["choices"]
    on_exit = "hibernate" if verifies else chance.choice(choices)
    lock = threading.Lock()
    counter = itertools.count(writer.book.highest + 1)

    def numbers() -> int:
        with lock:
            return next(counter)

    with Hub(root / "data", f"file://{root}/backend", on_exit=on_exit, **OPTIONS) as running:
        print("running", flush=True)
        if verifies:
            Worker(running, root, writer, numbers, seed).verify_and_obliterate()
            return
        workers = [Worker(running, root, writer, numbers, seed * 100 + number) for number in range(OWNERS + 1)]
        owned = [MODULES[number * EACH : (number + 1) * EACH] for number in range(OWNERS)]
        threads = [threading.Thread(target=w.own, args=(modules,)) for w, modules in zip(workers, owned, strict=False)]
        threads.append(threading.Thread(target=workers[-1].meddle))
        for thread in threads:
            thread.start()
        os.read(asked, 1)
        stuck = threading.Timer(STUCK_S, tell_stacks, (running,))
        stuck.daemon = True
        stuck.start()
        for worker in workers:
            worker.ends.set()
        if seed % 2:  # else the hub ends under their hands
            for thread in threads:
                thread.join()
    for thread in threads:
        thread.join()
    stuck.cancel()
    stuck.join()


def tell_stacks(hub: Hub) -> None:
    """For whoever looks for what a hub that does not end is waiting for."""
    faulthandler.dump_traceback()
    tasks: list[asyncio.Task[Any]] = [task for task in gc.get_objects() if isinstance(task, asyncio.Task)]
    for task in tasks:
        if not task.done():
            task.print_stack(file=sys.stderr)
    entries = attrgetter("_hub._runtime._services.directory._entries")(hub)
    print(*entries.values(), sep="\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
