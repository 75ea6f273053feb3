import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.instance import procfs
from tests.hub.instance.bench import Bench, Run, Scenario
from tests.hub.instance.support import Signals


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a scenario; afterwards no child, no port and no thread of it may be left."""

    async def with_bench(scenario: Scenario) -> None:
        bench = Bench(tmp_path)
        try:
            await scenario(bench)
        finally:
            for instance in bench.exits:
                assert procfs.group_members(instance.pid) == []
            bench.workers.close()
        assert bench.ports.held == frozenset()

    def run(scenario: Scenario) -> None:
        before = children()  # servers that other tests of the run share
        asyncio.run(with_bench(scenario))
        assert children() == before

    return run


@pytest.fixture
def signals(tmp_path: Path) -> Iterator[Signals]:
    signals = Signals(tmp_path)
    yield signals
    signals.close()
