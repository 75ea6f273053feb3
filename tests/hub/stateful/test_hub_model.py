"""A hub under random operations, crashes, failures and restarts, against a model of what it promised."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import lists, sampled_from

from backends import encode_module_id
from hub import BackendError, Hub, InvalidState, ModuleInfo, ModuleNotFound, State
from hub.lifecycle import TABLE
from tests.hub.conftest import tiny_kind
from tests.hub.faulty import Faults, faulty_backend
from tests.hub.marked import processes_of
from tests.hub.observer import Observer, observed
from tests.hub.tiny_client import get, put

MODULES = ("a", "A", "b")
LEGAL = {(t.source, t.target) for t in TABLE}

modules = sampled_from(MODULES)


@dataclass
class Expected:
    """What is promised of one module."""

    state: State = State.UNPROVISIONED
    value: str | None = None
    at_home: bool = False
    doomed: bool = False

    @property
    def tracked(self) -> bool:
        return self.state is not State.UNPROVISIONED


class HubMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="modhub-model-"))
        self.expected = {module_id: Expected() for module_id in MODULES}
        self.patch = pytest.MonkeyPatch()
        self.faults: Faults = faulty_backend(self.patch)
        self.down = False
        self.writes = 0
        self.stack = contextlib.ExitStack()
        self.events: Observer = self.stack.enter_context(observed())
        self.hub: Hub

    @initialize()
    def start(self) -> None:
        # Retries are far off: what the hub does by itself here is recover what crashed, and nothing else.
        self.hub = Hub(
            self.root / "data",
            f"file://{self.root}/backend",
            kinds=[tiny_kind()],
            default_kind="tiny",
            breaker_delay=0.01,
            breaker_delay_max=0.02,
            restart_limit=1000,
            restart_delay=0.0,
            retry_delay=3600.0,
            retry_delay_max=3600.0,
        ).start()

    def teardown(self) -> None:
        try:
            if hasattr(self, "hub"):
                self.hub.close()
                assert processes_of(self.root / "data") == []
        finally:
            self.stack.close()
            self.patch.undo()
            shutil.rmtree(self.root)

    # What callers do

    @rule(module_id=modules)
    def provision(self, module_id: str) -> None:
        expected = self.expected[module_id]
        if expected.doomed:
            with pytest.raises(InvalidState):
                self.hub.provision(module_id)
        elif self.down and not expected.tracked:
            with pytest.raises(BackendError):
                self.hub.provision(module_id)
        else:
            info = self.hub.provision(module_id)
            expected.state = State.PROVISIONED
            expected.at_home = True  # the claim
            assert get(info, "k") == expected.value

    @rule(module_id=modules)
    def write(self, module_id: str) -> None:
        expected = self.expected[module_id]
        if expected.state is State.PROVISIONED:
            self.writes += 1
            put(self.hub.module(module_id), "k", str(self.writes))
            expected.value = str(self.writes)

    @rule(module_id=modules)
    def hibernate(self, module_id: str) -> None:
        self._rest_or_wake(module_id, self.hub.hibernate, State.HIBERNATED)

    @rule(module_id=modules)
    def wake(self, module_id: str) -> None:
        self._rest_or_wake(module_id, self.hub.wake, State.PROVISIONED)

    def _rest_or_wake(self, module_id: str, operation: Callable[[str], ModuleInfo], target: State) -> None:
        expected = self.expected[module_id]
        if not expected.tracked:
            with pytest.raises(ModuleNotFound):
                operation(module_id)
        elif expected.state is State.CRASHED:
            with pytest.raises(InvalidState):
                operation(module_id)
        else:
            assert operation(module_id).state is target
            expected.state = target

    @rule(module_id=modules)
    def deprovision(self, module_id: str) -> None:
        expected = self.expected[module_id]
        if self.down and expected.tracked:
            with pytest.raises(BackendError) as refused:
                self.hub.deprovision(module_id)
            # Known to be unavailable, the backend is not asked, and the module is left as it is.
            if expected.doomed or refused.value.retry_after_s is None:
                expected.state = State.CRASHED
            return
        assert self.hub.deprovision(module_id).state is State.UNPROVISIONED
        if expected.doomed:
            self.expected[module_id] = Expected()
        else:
            expected.state = State.UNPROVISIONED

    @rule(module_id=modules)
    def obliterate(self, module_id: str) -> None:
        if self.down:
            with pytest.raises(BackendError):
                self.hub.obliterate(module_id)
            self.expected[module_id] = Expected(State.CRASHED, at_home=True, doomed=True)
        else:
            assert self.hub.obliterate(module_id).remaining == 0
            self.expected[module_id] = Expected()

    @rule(
        module_id=modules,
        operations=lists(sampled_from(["provision", "hibernate", "wake", "touch"]), min_size=2, max_size=5),
    )
    @precondition(lambda self: any(e.state in {State.PROVISIONED, State.HIBERNATED} for e in self.expected.values()))
    def many_at_once(self, module_id: str, operations: list[str]) -> None:
        expected = self.expected[module_id]
        if expected.state not in {State.PROVISIONED, State.HIBERNATED}:
            return
        with ThreadPoolExecutor(len(operations)) as pool:
            for operation in [getattr(self.hub, name) for name in operations]:
                pool.submit(operation, module_id)
        expected.state = self.hub.module(module_id).state
        assert expected.state in {State.PROVISIONED, State.HIBERNATED}

    # What happens to it

    @rule(module_id=modules)
    def kill_process(self, module_id: str) -> None:
        expected = self.expected[module_id]
        if expected.state is not State.PROVISIONED:
            return
        info = self.hub.module(module_id)
        assert info.pid is not None
        os.kill(info.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while (now := self.hub.module(module_id)).state is not State.PROVISIONED or now.pid == info.pid:
            assert time.monotonic() < deadline, f"not recovered: {now}"
        assert get(now, "k") == expected.value

    @rule()
    def backend_goes_down(self) -> None:
        self.down = True
        self.faults.go_down()

    @rule()
    def backend_comes_back(self) -> None:
        self.down = False
        self.faults.clear()
        deadline = time.monotonic() + 20
        while not self.hub.backend_status().available:
            assert time.monotonic() < deadline, "the hub does not notice that the backend is back"

    @rule()
    def restart_hub(self) -> None:
        self.hub.close()
        assert processes_of(self.root / "data") == []
        self.start()
        for expected in self.expected.values():
            if expected.state is State.PROVISIONED:
                expected.state = State.HIBERNATED

    # What always holds

    @invariant()
    def states_are_as_promised(self) -> None:
        shown = {info.module_id: info.state for info in self.hub.modules()}
        assert shown == {m: e.state for m, e in self.expected.items() if e.tracked}

    @invariant()
    def all_that_is_told_agrees(self) -> None:
        shown = {info.module_id: (info.state, info.dirty) for info in self.hub.modules()}
        page = self.hub.find(limit=1000)
        assert {info.module_id: (info.state, info.dirty) for info in page.modules} == shown
        stats = self.hub.stats()
        assert stats.states == page.states
        assert {state: n for state, n in stats.states.items() if n} == Counter(state for state, _ in shown.values())
        assert stats.dirty == sum(dirty for _, dirty in shown.values())
        assert stats.operations_waiting == 0, self.hub.operations()

    @invariant()
    def every_transition_was_legal(self) -> None:
        for record in self.events.all("module.transition"):
            assert (record["from_state"], record["to_state"]) in LEGAL
        assert self.events.all("hub.actor_failed") == []

    @invariant()
    def nothing_is_leaked(self) -> None:
        alive = [e for e in self.expected.values() if e.state is State.PROVISIONED]
        assert len(processes_of(self.root / "data")) == len(alive)
        here = {path.name for path in (self.root / "data" / "modules").iterdir()}
        kept = {encode_module_id(m) for m, e in self.expected.items() if e.tracked and not e.doomed}
        assert here == kept
        assert list((self.root / "data" / "trash").iterdir()) == []
        assert not any(path.is_file() for path in (self.root / "data" / "scratch").rglob("*"))

    @invariant()
    def the_obliterated_stay_gone(self) -> None:
        for module_id, expected in self.expected.items():
            if not expected.tracked and not expected.at_home and expected.value is None:
                assert not (self.root / "backend" / encode_module_id(module_id)).exists()


def run(machine: type[HubMachine], **options: Any) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
            **options,
        ),
    )


@pytest.mark.stateful
def test_a_hub_keeps_its_promises_whatever_happens() -> None:
    """Legal states only, no data lost, nothing obliterated comes back, no process or directory is leaked."""
    run(HubMachine, max_examples=60, stateful_step_count=50)
