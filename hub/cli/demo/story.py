"""What the demo does, in its order: four modules, what becomes of each, and the proofs."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from backends import BlobStore, module_prefix
from hub.cli.demo import evidence
from hub.cli.demo.data import DataClient
from hub.cli.demo.narration import Narrator, Step
from hub.cli.demo.recording import Recording
from hub.cli.terminal import Symbols, duration, size
from hub.errors import ModuleNotFound
from hub.hub import Hub
from hub.info import ModuleInfo
from hub.lifecycle import State

ALPHA, BETA, GAMMA, DELTA = MODULES = ("alpha", "beta", "gamma", "delta")
_PATIENCE_S = 30.0
_POLL_S = 0.001
_BULK = 200_000


class Story:
    """The steps. Each does one thing to one module, then looks for itself whether it is so.

    Args:
        hub: a hub that has not been started.
        folder: holds all that the hub writes; the backend too, unless that is elsewhere.
        store: the hub's backend.
        where: says where all of it is.
        client: speaks to the modules.
        narrator: tells the steps.
        recording: the hub's events.
        symbols: marks for listings.
        undivided: a block that no signal interrupts.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        folder: Path,
        store: BlobStore,
        where: str,
        client: DataClient,
        narrator: Narrator,
        recording: Recording,
        symbols: Symbols,
        undivided: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._hub = hub
        self._folder = folder
        self._store = store
        self._where = where
        self._client = client
        self._step = narrator.step
        self._recording = recording
        self._symbols = symbols
        self._undivided = undivided
        self._values: Mapping[str, Mapping[str, bytes]] = {name: _values(name) for name in MODULES}

    def play(self, *, keep: bool) -> None:
        """Play all of it.

        Args:
            keep: leave a hibernated module behind, for who opens the folder later.

        Raises:
            ModhubError: a check did not hold, or the hub failed.
        """
        with self._step("start hub") as step:
            # A loop's thread that is only half started could be neither used nor ended.
            with self._undivided():
                step.timed(self._hub.start)
            step.check(self._hub.modules() == (), "a new hub tracks modules already")
            step.tell(self._where)
        for name in MODULES:
            self._provision(name)
        self._hibernate(ALPHA)
        self._wake(ALPHA)
        self._kill(BETA)
        self._deprovision(GAMMA)
        self._provision_again(GAMMA)
        self._deprovision(DELTA)
        self._obliterate(DELTA, "the hub does not track it")
        self._obliterate(GAMMA, "it runs, and has data in the backend")
        self._obliterate(ALPHA, "it runs")
        self._obliterate(BETA, "it runs")
        self._prove_empty()
        if keep:
            self._provision(ALPHA, "its name begins anew, empty")
        self._close()

    def _provision(self, name: str, note: str = "") -> None:
        with self._step("provision", name) as step:
            info = step.timed(self._hub.provision, name)
            step.check(info.state is State.PROVISIONED, f"it is {info.state}")
            values = self._values[name]
            step.check(self._read(info, *values) == dict.fromkeys(values), "a new module is not empty")
            for key, value in values.items():
                try:
                    self._client.write(_port(info), key, value)
                except OSError as error:
                    step.fail(f"{key!r} can't be written: {error}", error)
            self._check_data(step, info)
            total = size(sum(map(len, values.values())))
            text = f"up on port {info.port}; wrote {total} by {self._client.how}"
            step.tell(f"{note}; {text}" if note else text)

    def _hibernate(self, name: str) -> None:
        with self._step("hibernate", name) as step:
            before = self._hub.module(name)
            in_backend = evidence.objects(self._store, name)
            info = step.timed(self._hub.hibernate, name)
            step.check(info.state is State.HIBERNATED, f"it is {info.state}")
            self._check_process_gone(step, before)
            step.check(info.data_dir is not None and any(info.data_dir.iterdir()), "its data is gone")
            step.check(evidence.objects(self._store, name) == in_backend, "there was traffic to the backend")
            step.tell(f"process {before.pid} ended; its data stays on disk")

    def _wake(self, name: str) -> None:
        with self._step("wake", name) as step:
            before = self._hub.module(name)
            info = step.timed(self._hub.wake, name)
            step.check(info.state is State.PROVISIONED, f"it is {info.state}")
            self._check_data(step, info)
            where = f"port {info.port}" + (" as before" if info.port == before.port else "")
            step.tell(f"up on {where}, data read back")

    def _kill(self, name: str) -> None:
        with self._step("kill -9", name) as step:
            before = self._hub.module(name)
            others = _pids(self._hub, but=name)
            assert before.pid is not None, "a provisioned module has a process"
            os.kill(before.pid, signal.SIGKILL)
            info = step.timed(self._await_recovery, step, before)
            self._check_data(step, info)
            step.check(info.restarts == before.restarts + 1, f"it was restarted {info.restarts} times")
            step.check(_pids(self._hub, but=name) == others, "another module was restarted as well")
            step.tell(
                f"process {before.pid} killed; the watchdog started {info.pid}, which answered"
                f" {duration(step.took_s)} later; data read back; the others noticed nothing"
            )

    def _await_recovery(self, step: Step, before: ModuleInfo) -> ModuleInfo:
        """Wait until another process answers for the module."""
        name = before.module_id
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            info = self._hub.module(name)
            if info.state is State.PROVISIONED and info.pid != before.pid:
                with suppress(OSError):  # up, but for this instant it does not answer
                    self._client.read(_port(info), next(iter(self._values[name])))
                    return info
            if time.monotonic() > deadline:
                step.fail(f"it did not come back within {_PATIENCE_S:g} s")
            time.sleep(_POLL_S)

    def _deprovision(self, name: str) -> None:
        with self._step("deprovision", name) as step:
            before = self._hub.module(name)
            info = step.timed(self._hub.deprovision, name)
            step.check(info.state is State.UNPROVISIONED and not info.dirty, f"it is {info.state}")
            self._check_process_gone(step, before)
            step.check(not self._tracked(name), "the hub still tracks it")
            step.check(before.data_dir is not None and not before.data_dir.exists(), "its local data is still there")
            blobs = evidence.objects(self._store, name)
            step.check(len(blobs) > 1, "the backend does not have its data")
            step.tell(
                "sent home, nothing left here; the backend has",
                *evidence.listing(blobs, self._symbols),
            )

    def _provision_again(self, name: str) -> None:
        with self._step("provision", name) as step:
            info = step.timed(self._hub.provision, name)
            step.check(info.state is State.PROVISIONED, f"it is {info.state}")
            self._check_data(step, info)
            step.tell(f"fetched; up on port {info.port}, data read back")

    def _obliterate(self, name: str, condition: str) -> None:
        with self._step("obliterate", name) as step:
            before = self._hub.module(name) if self._tracked(name) else None
            gone = step.timed(self._hub.obliterate, name)
            if before is not None:
                self._check_process_gone(step, before)
            step.check(gone.remaining == 0, f"{gone.remaining} objects remain")
            left = [remnant.name for remnant in self._store.remains(module_prefix(name))]
            step.check(not left, f"the backend still holds {left}")
            step.check(not self._tracked(name), "the hub still tracks it")
            traces = evidence.traces(self._folder, name, self._values[name]["greeting"])
            step.check(not traces, f"there is a trace of it: {traces[:1]}")
            here = f" and {size(gone.local_bytes)} here" if gone.local_bytes else ""
            objects = f"{gone.blobs} object{'' if gone.blobs == 1 else 's'}"
            step.tell(f"({condition}) {objects} deleted in the backend{here}; searched, no trace left")

    def _prove_empty(self) -> None:
        with self._step("look round") as step:
            left = step.timed(lambda: [remnant.name for remnant in self._store.remains("")])
            step.check(not left, f"the backend still holds {left}")
            step.check(self._hub.modules() == (), "the hub still tracks modules")
            step.tell("no object in the backend, no module in the hub")

    def _close(self) -> None:
        with self._step("close hub") as step:
            with self._undivided():
                step.timed(self._hub.close)
            pids = {e.fields["pid"] for e in self._recording.events if e.name == "instance.started"}
            living = sorted(pid for pid in pids if evidence.process_lives(pid))
            step.check(not living, f"processes are left: {living}")
            step.check(not evidence.own_threads(), f"threads are left: {evidence.own_threads()}")
            step.check(not self._recording.defects, f"the hub reported defects: {self._recording.defects}")
            step.tell(f"of {len(pids)} processes none is left, and no thread")

    def _check_data(self, step: Step, info: ModuleInfo) -> None:
        expected = self._values[info.module_id]
        try:
            found = self._read(info, *expected)
        except OSError as error:
            step.fail(f"its data can't be read: {error}", error)
        for key, value in expected.items():
            step.check(found[key] == value, f"the value of {key!r} is not what was written")

    def _check_process_gone(self, step: Step, before: ModuleInfo) -> None:
        step.check(before.pid is None or not evidence.process_lives(before.pid), f"process {before.pid} still lives")

    def _read(self, info: ModuleInfo, *keys: str) -> dict[str, bytes | None]:
        return {key: self._client.read(_port(info), key) for key in keys}

    def _tracked(self, name: str) -> bool:
        try:
            self._hub.module(name)
        except ModuleNotFound:
            return False
        return True


def _values(name: str) -> dict[str, bytes]:
    """Return what is written to a module: a short value that is found nowhere else, and one that has some length."""
    return {"greeting": f"hello from {name} {secrets.token_hex(8)}".encode(), "picture": secrets.token_bytes(_BULK)}


def _port(info: ModuleInfo) -> int:
    assert info.port is not None, "a provisioned module has a port"
    return info.port


def _pids(hub: Hub, *, but: str) -> dict[str, int | None]:
    return {info.module_id: info.pid for info in hub.modules() if info.module_id != but}
