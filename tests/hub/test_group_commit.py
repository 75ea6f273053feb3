"""Group commit: many writers share one wait for the disk, and nobody is told anything before it is over."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub import Hub
from hub.journal import Journal
from hub.lifecycle import State
from hub.record import ModuleRecord
from tests.hub.conftest import MakeHub
from tests.hub.observer import Observer

PATIENCE_S = 20
WRITERS = 1000


def hibernated(module_id: str) -> ModuleRecord:
    return ModuleRecord(module_id, kind="store", state=State.HIBERNATED, dirty=True)


class Gate:
    """Stands before every commit of a journal, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = 0
        self.reached = threading.Semaphore(0)
        self._passes = threading.Semaphore(0)
        self._closed = False
        gate = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                if sql == "COMMIT":
                    gate.stand()
                return super().execute(sql, parameters)

        monkeypatch.setattr("hub.journal.sqlite3.connect", Connection)

    def stand(self) -> None:
        if self._closed:
            self.reached.release()
            assert self._passes.acquire(timeout=PATIENCE_S)
        self.commits += 1

    @contextmanager
    def closed(self) -> Generator[None]:
        """Let no commit pass but one by one while the block runs."""
        self._closed = True
        try:
            yield
        finally:
            self._closed = False
            self._passes.release()

    def wait(self) -> None:
        """Wait until a commit stands before the gate."""
        assert self.reached.acquire(timeout=PATIENCE_S)

    def let_one_pass(self) -> None:
        self._passes.release()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


@pytest.fixture
def journal(gate: Gate, tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite3")
    journal.open()
    with closing(journal):
        yield journal


def stored(path: Path) -> int:
    with closing(sqlite3.connect(path / "journal.sqlite3")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM modules").fetchone()
    return int(count)


def test_a_thousand_writers_do_not_wait_for_a_thousand_commits(gate: Gate, journal: Journal, tmp_path: Path) -> None:
    """What arrives while one commit is on its way goes into the next one together: two of them for all."""

    async def scenario() -> None:
        first = asyncio.create_task(journal.write(hibernated("first")))
        await asyncio.to_thread(gate.wait)
        rest = [asyncio.create_task(journal.write(hibernated(f"m{number}"))) for number in range(WRITERS)]
        await asyncio.sleep(0)  # one turn: all are queued
        assert not any(task.done() for task in (first, *rest))
        gate.let_one_pass()
        gate.let_one_pass()
        await asyncio.gather(first, *rest)

    before = gate.commits
    with gate.closed():
        asyncio.run(scenario())
    assert gate.commits - before == 2
    assert stored(tmp_path) == WRITERS + 1


def test_a_writer_is_told_nothing_before_the_commit(gate: Gate, journal: Journal, tmp_path: Path) -> None:
    """While the commit is held back its writer waits, and another connection sees nothing of it."""

    async def scenario() -> None:
        writer = asyncio.create_task(journal.write(hibernated("m")))
        await asyncio.to_thread(gate.wait)
        done, _ = await asyncio.wait([writer], timeout=0.05)
        assert not done
        assert stored(tmp_path) == 0
        gate.let_one_pass()
        await writer
        assert stored(tmp_path) == 1

    with gate.closed():
        asyncio.run(scenario())


def turn_loop(hub: Hub) -> None:
    """Let everything happen on the hub's loop that can: a message there and back, a few times."""
    for _ in range(5):
        hub.modules()


@pytest.mark.e2e
@pytest.mark.parametrize("operation", ["hibernate", "wake", "provision", "deprovision", "obliterate"])
def test_no_reply_and_no_event_leaves_before_its_outcome_is_durable(
    operation: str, gate: Gate, make_hub: MakeHub, events: Observer
) -> None:
    """At each step of an operation the commit is held back: the state that it makes is neither told nor shown."""
    hub = make_hub()
    if operation != "provision":
        hub.provision("m")
    if operation == "wake":
        hub.hibernate("m")
    steps = 0
    with ThreadPoolExecutor() as pool, gate.closed():
        reply = pool.submit(getattr(hub, operation), "m")
        while not reply.done():
            if not gate.reached.acquire(timeout=0.2):
                continue
            told, shown = len(events.all("module.transition", module_id="m")), [info.state for info in hub.modules()]
            turn_loop(hub)
            assert not reply.done()
            assert len(events.all("module.transition", module_id="m")) == told
            assert [info.state for info in hub.modules()] == shown
            steps += 1
            gate.let_one_pass()
    reply.result()
    # The intent and the outcome; a deprovision and a provision have a step between.
    assert steps == {"provision": 3, "deprovision": 3}.get(operation, 2)
