"""A loop that hangs is noticed from outside, with the place where it hangs."""

# A white-box test: it sees through the watch's event when the thread looks, and when the loop beats.
# pyright: reportPrivateUsage=false

import asyncio
import threading
from collections.abc import Iterator

import pytest

from hub.watchdog.stall import StallWatch

THRESHOLD_S = 0.02
PATIENCE_S = 30


class CountingEvent(threading.Event):
    """Counts the looks of the watching thread, which waits on it between two."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.looked = threading.Condition()

    def wait(self, timeout: float | None = None) -> bool:
        with self.looked:
            self.looks += 1
            self.looked.notify_all()
        return super().wait(timeout)

    def wait_for_looks(self, number: int) -> None:
        with self.looked:
            wanted = self.looks + number
            assert self.looked.wait_for(lambda: self.looks >= wanted, PATIENCE_S)


class Watch(StallWatch):
    """Tells when the loop beats."""

    beaten: asyncio.Event

    def _turn(self) -> None:
        super()._turn()
        self.beaten.set()


class Observed:
    """A watch on the running loop, with what it reported."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, str]] = []
        self.reported = threading.Event()
        self.watch = Watch(asyncio.get_running_loop(), THRESHOLD_S, self._report)
        self.watch.beaten = asyncio.Event()
        self.looks = self.watch._ended = CountingEvent()

    def _report(self, stalled_s: float, stack: str) -> None:
        self.reports.append((stalled_s, stack))
        self.reported.set()

    def hang_until_reported(self) -> None:
        """Block the loop's thread; the name stands in the stack."""
        self.reported.clear()
        assert self.reported.wait(PATIENCE_S)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "modhub-stall-watch"]


def test_a_blocked_loop_is_reported_with_the_function_that_blocks() -> None:
    """The report has the seconds so far and the stack of the loop's thread, down to the blocking call."""

    async def scenario() -> list[tuple[float, str]]:
        observed = Observed()
        observed.watch.start()
        try:
            observed.hang_until_reported()
        finally:
            observed.watch.close()
        return observed.reports

    ((stalled_s, stack),) = asyncio.run(scenario())
    assert stalled_s >= THRESHOLD_S
    assert "hang_until_reported" in stack
    assert "scenario" in stack


def test_a_stall_is_reported_once_however_long_it_lasts() -> None:
    """While the loop goes on hanging the watch keeps looking and says nothing more."""

    async def scenario() -> int:
        observed = Observed()
        observed.watch.start()
        try:
            observed.hang_until_reported()
            observed.looks.wait_for_looks(5)
        finally:
            observed.watch.close()
        return len(observed.reports)

    assert asyncio.run(scenario()) == 1


def test_the_next_stall_is_reported_again() -> None:
    """After the loop has turned, a second hang is a second report."""

    async def scenario() -> int:
        observed = Observed()
        observed.watch.start()
        try:
            for _ in range(2):
                observed.hang_until_reported()
                observed.watch.beaten.clear()
                await observed.watch.beaten.wait()
        finally:
            observed.watch.close()
        return len(observed.reports)

    assert asyncio.run(scenario()) == 2


def test_the_beat_ends_with_the_watch() -> None:
    """After `close` nothing of the watch is scheduled on the loop any more."""

    async def scenario() -> bool:
        observed = Observed()
        observed.watch.start()
        observed.watch.close()
        beat = observed.watch._beat
        assert beat is not None
        return beat.cancelled()

    assert asyncio.run(scenario())
