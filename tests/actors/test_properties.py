"""Whatever is sent in whatever order: each ask is answered once, order and bound hold, nothing is lost."""

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors import (
    Actor,
    ActorCrashed,
    ActorDead,
    ActorSystem,
    Backoff,
    DeadlineExceeded,
    MailboxFull,
    Message,
    OneForOne,
    SystemMessage,
)
from actors.testing import run_virtual
from tests.actors.harness import Declared, ignore_failure

CAPACITY = 3


@dataclass(frozen=True)
class Job(Message[int]):
    serial: int
    seconds: float
    outcome: str


@dataclass(frozen=True)
class Notice(SystemMessage[int]):
    serial: int


class Clerk(Actor):
    mailbox_capacity = CAPACITY
    domain_errors = (Declared,)

    def __init__(self, begun: list[int], ended: list[int]) -> None:
        super().__init__()
        self.begun = begun
        self.ended = ended
        self.busy = False

    def on_receive(self, message: Any) -> Any:
        assert not self.busy, "two messages at a time"
        assert self.actor_ref.inspect().queued <= CAPACITY
        self.begun.append(message.serial)
        if isinstance(message, Notice):
            return message.serial
        return self.work(message) if message.seconds else self.conclude(message)

    async def work(self, job: Job) -> int:
        self.busy = True
        await asyncio.sleep(job.seconds)
        self.busy = False
        return self.conclude(job)

    def conclude(self, job: Job) -> int:
        self.ended.append(job.serial)
        if job.outcome == "crash":
            raise RuntimeError("bug")
        if job.outcome == "declared":
            raise Declared
        return job.serial


@dataclass(frozen=True)
class Step:
    kind: str
    seconds: float
    outcome: str
    timeout: float | None
    pause: float


steps = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(["job"] * 12 + ["notice", "notice", "cancel", "stop", "kill"]),
        seconds=st.sampled_from([0, 0, 1, 3]),
        outcome=st.sampled_from(["reply"] * 5 + ["declared", "crash"]),
        timeout=st.sampled_from([None, None, 1.5, 4.0]),
        pause=st.sampled_from([0, 0, 0, 0.5, 2]),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(steps=steps, backoff_s=st.sampled_from([0.0, 1.0]), supervised=st.booleans(), budget=st.sampled_from([1, 64]))
def test_every_ask_has_one_true_outcome(steps: list[Step], backoff_s: float, supervised: bool, budget: int) -> None:
    """Replies and errors match what really ran; what was refused, withdrawn or dead never began; order is kept."""

    async def main() -> None:
        begun: list[int] = []
        ended: list[int] = []
        asks: dict[int, asyncio.Task[Any]] = {}
        notices: set[int] = set()
        strategy = OneForOne(intensity=3, period_s=50, backoff=Backoff(first_s=backoff_s)) if supervised else None
        async with ActorSystem(on_failure=ignore_failure, drain_budget=budget) as system:
            clerk = system.spawn(Clerk, begun, ended, supervision=strategy)
            for serial, step in enumerate(steps):
                match step.kind:
                    case "stop":
                        clerk.stop(block=False)
                    case "kill":
                        clerk.kill(block=False)
                    case "cancel":
                        if asks:
                            list(asks.values())[-1].cancel()
                    case "notice":
                        notices.add(serial)
                        asks[serial] = asyncio.ensure_future(clerk.ask_async(Notice(serial)))
                    case _:
                        job = Job(serial, step.seconds, step.outcome)
                        asks[serial] = asyncio.ensure_future(clerk.ask_async(job, timeout=step.timeout))
                await asyncio.sleep(step.pause)
        outcomes = dict(zip(asks, await asyncio.gather(*asks.values(), return_exceptions=True), strict=True))
        assert len(begun) == len(set(begun)), "a message ran twice"
        jobs_begun = [serial for serial in begun if serial not in notices]
        assert jobs_begun == sorted(jobs_begun), "the user lane is first in, first out"
        for serial, outcome in outcomes.items():
            match outcome:
                case int():
                    assert outcome == serial
                    assert serial in begun
                case Declared() | ActorCrashed():
                    assert serial in ended
                case MailboxFull():
                    assert serial not in begun
                    assert serial not in notices
                case DeadlineExceeded(started=started):
                    assert (serial in begun) == started
                case ActorDead(reason=reason):
                    assert serial not in begun or reason == "killed"
                    assert serial not in ended or steps[serial].outcome == "crash"  # a crash beside the kill
                case asyncio.CancelledError():
                    pass  # withdrawn, or going on: both are checked by name elsewhere
                case _:
                    raise AssertionError(f"unexpected outcome {outcome!r}")

    run_virtual(main)
