"""The circuit breaker: the pure machine, and what the hub's parts see of it."""

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import (
    BackendDenied,
    BackendFull,
    BackendsError,
    BackendUnavailable,
    CorruptData,
    LocalDiskError,
    SourceChanged,
    TransferCancelled,
)
from hub import breaker
from hub.availability import Availability
from hub.breaker import BreakerPolicy, Circuit, Closed, HalfOpen, Open
from hub.errors import BackendError
from hub.events import Event, EventBus

POLICY = BreakerPolicy(failures=3, delay_s=1.0, delay_max_s=10.0)


def never_early() -> float:
    return 0.0


def fail(circuit: Circuit, now: float = 0.0, error: str = "down") -> Circuit:
    return breaker.fail(POLICY, circuit, now, error, never_early)


def test_failures_in_a_row_open_it() -> None:
    """Two of three leave it closed, the third opens it, and the first attempt is due after the delay."""
    circuit = fail(fail(Closed()))
    assert circuit == Closed(failures=2)
    assert fail(circuit, now=5.0) == Open(since=5.0, error="down", attempt=1, next_at=6.0)


def test_an_answer_begins_the_count_anew() -> None:
    """Failures that answers lie between are no outage."""
    circuit: Circuit = Closed()
    for _ in range(10):
        circuit = breaker.succeed(fail(fail(circuit)))
    assert circuit == Closed()


def test_while_open_only_the_reason_changes() -> None:
    """What began before neither closes it by a success nor postpones the attempt by a failure."""
    circuit = Open(since=5.0, error="down", attempt=1, next_at=6.0)
    assert breaker.succeed(circuit) == circuit
    assert fail(circuit, now=5.5, error="still down") == Open(5.0, "still down", 1, 6.0)
    half = breaker.begin_attempt(circuit)
    assert half == HalfOpen(5.0, "down", 1)
    assert breaker.succeed(half) == half
    assert fail(half, error="late") == HalfOpen(5.0, "late", 1)


def test_an_attempt_that_fails_opens_it_again_for_longer() -> None:
    """Each one doubles the delay, from the end of the attempt, up to the cap; the outage's beginning stays."""
    circuit: Circuit = Open(since=0.0, error="down", attempt=1, next_at=1.0)
    delays: list[float] = []
    for _ in range(6):
        assert isinstance(circuit, Open)
        now = circuit.next_at + 0.5  # the attempt takes a while
        circuit = breaker.fail_attempt(POLICY, breaker.begin_attempt(circuit), now, "no", never_early)
        assert isinstance(circuit, Open)
        delays.append(circuit.next_at - now)
    assert delays == [2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert isinstance(circuit, Open)
    assert (circuit.since, circuit.error, circuit.attempt) == (0.0, "no", 7)


def test_an_attempt_that_is_answered_closes_it() -> None:
    """From then on everything is asked again."""
    half = HalfOpen(since=0.0, error="down", attempt=1)
    closed = breaker.succeed_attempt(half)
    assert isinstance(closed, Closed)
    assert closed.failures == 0


def test_an_outage_that_attempts_do_not_see_is_tried_ever_more_rarely() -> None:
    """A backend that answers the attempt but fails at work opens it for longer each time, until work succeeds."""
    circuit: Circuit = Closed()
    delays: list[float] = []
    for _ in range(4):
        circuit = fail(fail(fail(circuit)))
        assert isinstance(circuit, Open)
        delays.append(circuit.next_at)
        circuit = breaker.succeed_attempt(breaker.begin_attempt(circuit))
    assert delays == [1.0, 2.0, 4.0, 8.0]
    circuit = fail(fail(fail(breaker.succeed(circuit))))
    assert isinstance(circuit, Open)
    assert circuit.next_at == 1.0


@pytest.mark.parametrize("circuit", [Closed(), Closed(2, 1)])
def test_attempts_belong_to_an_open_breaker(circuit: Circuit) -> None:
    """A word about an attempt that nobody waits for changes nothing."""
    assert breaker.begin_attempt(circuit) == circuit
    assert breaker.fail_attempt(POLICY, circuit, 0.0, "no", never_early) == circuit
    assert breaker.succeed_attempt(circuit) == circuit


@given(chance=st.floats(0, 1, exclude_max=True), attempt=st.integers(1, 2000))
def test_every_delay_is_shortened_by_chance_and_never_past_a_fifth(chance: float, attempt: int) -> None:
    """Hubs that lose a backend together do not come back in step; the cap holds."""
    full = min(POLICY.delay_s * 2.0 ** min(attempt - 1, 64), POLICY.delay_max_s)
    delay = POLICY.delay(attempt, lambda: chance)
    assert 0.8 * full <= delay <= full
    assert POLICY.delay(attempt, lambda: 0.5) < full


Step = Callable[[Circuit, float], Circuit]
STEPS: dict[str, Step] = {
    "fail": fail,
    "succeed": lambda circuit, _: breaker.succeed(circuit),
    "begin": lambda circuit, _: breaker.begin_attempt(circuit),
    "fail attempt": lambda circuit, now: breaker.fail_attempt(POLICY, circuit, now, "no", never_early),
    "succeed attempt": lambda circuit, _: breaker.succeed_attempt(circuit),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=60))
def test_whatever_happens_only_three_failures_open_and_only_an_attempt_closes(names: list[str]) -> None:
    """Closed to open by a failure, open to half-open by an attempt, from there to either by its outcome; no other way."""
    legal: dict[tuple[type, type], set[str]] = {
        (Closed, Closed): set(STEPS),
        (Closed, Open): {"fail"},
        (Open, Open): {"fail", "succeed", "fail attempt", "succeed attempt"},
        (Open, HalfOpen): {"begin"},
        (HalfOpen, HalfOpen): {"fail", "succeed", "begin"},
        (HalfOpen, Open): {"fail attempt"},
        (HalfOpen, Closed): {"succeed attempt"},
    }
    circuits: list[Circuit] = [Closed()]
    for number, name in enumerate(names):
        circuits.append(STEPS[name](circuits[-1], float(number)))
    for name, (before, after) in zip(names, pairwise(circuits), strict=True):
        assert name in legal[type(before), type(after)]


class Rig:
    """A breaker on a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.events: list[Event] = []
        self.opened = 0
        bus = EventBus()
        bus.subscribe(self.events.append)
        self.availability = Availability(
            POLICY,
            bus,
            lambda: self.now,
            on_open=self._on_open,
            wall_clock=lambda: 1_700_000_000.0 + self.now,
            chance=never_early,
        )

    def _on_open(self) -> None:
        self.opened += 1

    def work(self, error: Exception | None = None, *, only_look: bool = False) -> None:
        with suppress(BackendsError, BackendError), self.availability.learning(work=not only_look):
            if error is not None:
                raise error

    def attempt(self, error: Exception | None = None) -> None:
        with self.availability.attempting():
            if error is not None:
                raise error

    def go_down(self, reason: str = "no route") -> None:
        for _ in range(POLICY.failures):
            self.work(BackendUnavailable(reason))


def test_its_changes_are_told_once_each() -> None:
    """`backend.unavailable` says why and when it is tried again, `backend.available` how long it took."""
    rig = Rig()
    rig.go_down()
    rig.work(BackendUnavailable("late"))
    rig.now += 1.0
    rig.attempt(BackendUnavailable("no route"))
    rig.now += 2.0
    rig.attempt()
    assert [(e.name, dict(e.fields)) for e in rig.events] == [
        ("backend.unavailable", {"error": "no route", "delay_ms": 1000.0}),
        ("backend.available", {"duration_ms": 3000.0}),
    ]
    assert rig.opened == 1


@pytest.mark.parametrize("answer", [BackendDenied("no"), BackendFull("full"), CorruptData("bad"), None])
def test_an_answer_is_no_outage(answer: BackendsError | None) -> None:
    """A backend that refuses, is full or holds corrupt data can be reached: failures before it count no more."""
    rig = Rig()
    for _ in range(5):
        rig.work(BackendUnavailable("down"))
        rig.work(BackendUnavailable("down"))
        rig.work(answer)
    assert rig.availability.available
    rig.go_down()
    rig.attempt(answer)
    assert rig.availability.available


@pytest.mark.parametrize(
    "silence",
    [TransferCancelled("cancelled"), LocalDiskError("disk"), SourceChanged("moved"), BackendError("hub's own")],
)
def test_what_says_nothing_of_the_backend_changes_nothing(silence: Exception) -> None:
    """Neither a cancellation nor the local disk makes an outage, or ends one."""
    rig = Rig()
    for _ in range(5):
        rig.work(silence)
    rig.work(BackendUnavailable("down"))
    rig.work(silence)
    rig.work(BackendUnavailable("down"))
    assert rig.availability.available
    rig.work(silence)
    rig.work(BackendUnavailable("down"))
    assert not rig.availability.available


def test_a_mere_look_that_succeeds_does_not_count() -> None:
    """Who can list may be unable to write: failures at work add up over looks that succeed."""
    rig = Rig()
    for _ in range(POLICY.failures):
        rig.work(only_look=True)
        rig.work(BackendUnavailable("down"))
    assert not rig.availability.available


def test_what_needs_it_is_refused_with_what_a_caller_has_to_know() -> None:
    """Since when, why, and how long until the hub tries again; a moment later it is less."""
    rig = Rig()
    rig.availability.require("m")
    rig.go_down()
    rig.now += 0.25
    with pytest.raises(BackendError) as refused:
        rig.availability.require("provision of module 'm'")
    assert refused.value.retry_after_s == 0.75
    assert refused.value.message == (
        "provision of module 'm': the backend has been unavailable since 2023-11-14T22:15:00Z: no route"
    )
    assert "in 0.8 s" in refused.value.hint
    rig.now += 60.0
    assert rig.availability.next_attempt_s == 0.0


def test_its_status_is_plain_data() -> None:
    """Available or not, since when, why, and until when; all of it again after the backend is back."""
    rig = Rig()
    since = 1_700_000_100.0
    status = rig.availability.status()
    assert (status.available, status.since, status.error, status.retry_after_s) == (True, since, None, None)
    rig.now += 7.0
    rig.go_down()
    status = rig.availability.status()
    assert (status.available, status.since, status.error, status.retry_after_s) == (False, since + 7, "no route", 1.0)
    rig.now += 2.0
    rig.attempt()
    status = rig.availability.status()
    assert (status.available, status.since, status.error, status.retry_after_s) == (True, since + 9, None, None)


def test_an_attempt_under_way_is_no_invitation() -> None:
    """While the attempt runs, callers are told to come later, not at once."""
    rig = Rig()
    rig.go_down()
    with rig.availability.attempting():
        assert rig.availability.next_attempt_s == POLICY.delay_s
        assert not rig.availability.available
    assert rig.availability.available


def test_only_a_first_failure_is_doubtful() -> None:
    """The first one since the last success calls for a look; later ones, successes and an open breaker do not."""
    circuits = (Closed(), Closed(attempts=3), Closed(1), Closed(2), Open(0.0, "down", 1, 1.0), HalfOpen(0.0, "down", 1))
    doubtful = [(before, after) for before in circuits for after in circuits if breaker.in_doubt(before, after)]
    assert doubtful == [(Closed(), Closed(1)), (Closed(attempts=3), Closed(1))]


def test_a_look_that_fails_after_a_failure_opens_it() -> None:
    """One failure and one look are as good as many failures; an earlier outage still lengthens the delay."""
    assert breaker.fail_look(POLICY, Closed(1), 5.0, "down", never_early) == Open(5.0, "down", 1, 6.0)
    assert breaker.fail_look(POLICY, Closed(1, attempts=2), 5.0, "down", never_early) == Open(5.0, "down", 3, 9.0)


@pytest.mark.parametrize("circuit", [Closed(), Closed(attempts=2), Open(0.0, "x", 1, 1.0), HalfOpen(0.0, "x", 1)])
def test_a_look_that_comes_late_changes_nothing(circuit: Circuit) -> None:
    """Work has succeeded meanwhile, or the breaker has opened by itself."""
    assert breaker.fail_look(POLICY, circuit, 5.0, "down", never_early) == circuit
