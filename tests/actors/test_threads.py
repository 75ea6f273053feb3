"""What races between real threads. The clock is the real one here, and no test sleeps on it."""

import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from actors import (
    Actor,
    ActorCrashed,
    ActorDead,
    ActorSystem,
    Backoff,
    DeadlineExceeded,
    DuplicateName,
    Future,
    MailboxFull,
    OneForOne,
    SystemNotRunning,
)
from actors.dispatcher import Dispatcher
from tests.actors.harness import Add, Raise, Start, Work, Worker, ignore_failure

BUG = RuntimeError("bug")


def in_threads(number: int, work: Callable[[int], None]) -> None:
    """Run the work in threads that start together, and let the first failure out."""
    barrier = threading.Barrier(number)
    failures: list[BaseException] = []

    def run(index: int) -> None:
        try:
            barrier.wait()
            work(index)
        except BaseException as error:  # reported by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads that take turns of 5 ms hardly race
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch_interval)
    if failures:
        raise failures[0]


def test_a_sender_that_is_interrupted_leaves_no_deaf_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler may raise in the midst of a send; the next message wakes the actor all the same."""
    with ActorSystem.in_thread() as system:
        ref = system.spawn(Worker)
        before = ref.ask(Add(1))
        post = Dispatcher.post

        def interrupted(self: Dispatcher, callback: Callable[[], object]) -> bool:
            monkeypatch.setattr(Dispatcher, "post", post)
            raise KeyboardInterrupt

        monkeypatch.setattr(Dispatcher, "post", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ref.tell(Add(1))
        assert ref.ask(Add(1), timeout=10) == before + 2


def test_pykka_actors_talk_to_ours() -> None:
    """A ThreadingActor asks and tells one of ours, and gets a proxy of it, across its restart."""

    class Stock(pykka.ThreadingActor):
        def __init__(self, other: Any) -> None:
            super().__init__()
            self.other = other

        def on_receive(self, message: Any) -> Any:
            return self.other.ask(message)

        def through_proxy(self, number: int) -> Any:
            return self.other.proxy().double(number).get()

    with ActorSystem.in_thread(on_failure=ignore_failure) as system:
        ours = system.spawn(Worker, supervision=OneForOne())
        assert isinstance(ours, pykka.ActorRef)
        proxy = ours.proxy()
        stock = Stock.start(ours)
        try:
            assert stock.ask(Add(2)) == 2
            assert stock.proxy().through_proxy(4).get() == 8
            with pytest.raises(ActorCrashed):
                stock.ask(Raise(BUG))
            assert stock.ask(Add(3)) == 3
            assert proxy.double(5).get() == 10
            assert proxy.total.get() == 3
            proxy.total = 40
            assert stock.ask(Add(2)) == 42
        finally:
            stock.stop()
        assert pykka.get_all([proxy.double(1), proxy.double(2)]) == [2, 4]
        assert ours.ask(Add(0), block=False).map(lambda total: total + 1).get() == 43


def test_pykka_envelopes_are_taken() -> None:
    """An envelope of pykka's own that is put in the inbox is answered, in time and after the end."""
    from pykka._envelope import Envelope  # noqa: PLC0415 # pyright: ignore[reportPrivateUsage] # what stock refs put

    with ActorSystem.in_thread() as system:
        worker = system.spawn(Worker)
        future: pykka.ThreadingFuture[int] = pykka.ThreadingFuture()
        assert worker.actor_inbox.empty()
        worker.actor_inbox.put(Envelope(Add(2), reply_to=future))
        assert future.get(timeout=10) == 2
        worker.stop()
        late: pykka.ThreadingFuture[int] = pykka.ThreadingFuture()
        worker.actor_inbox.put(Envelope(Add(2), reply_to=late))
        with pytest.raises(pykka.ActorDeadError):
            late.get(timeout=10)
        with pytest.raises(ActorDead):
            worker.actor_inbox.put(Envelope(Add(2)))


def test_the_bound_holds_from_any_thread() -> None:
    """Of many messages told at once by several threads exactly as many are accepted as there is room for."""
    with ActorSystem.in_thread() as system:
        worker = system.spawn(Worker)
        release = threading.Event()
        busy = worker.ask(Start(lambda _: asyncio.to_thread(release.wait)), block=False)
        while worker.inspect().current is None:
            pass
        refused: list[int] = []

        def tell_many(index: int) -> None:
            for _ in range(50):
                try:
                    worker.tell(Add(1))
                except MailboxFull:
                    refused.append(index)
                assert worker.inspect().queued <= Worker.mailbox_capacity

        in_threads(4, tell_many)
        assert worker.inspect().queued == Worker.mailbox_capacity
        assert len(refused) >= 200 - Worker.mailbox_capacity
        release.set()
        assert busy.get(timeout=10)


def test_deadline_holds_for_a_stalled_loop() -> None:
    """A blocking ask with a timeout comes back in time although the loop's thread is stuck."""
    with ActorSystem.in_thread() as system:
        worker = system.spawn(Worker)
        release = threading.Event()
        stuck = threading.Event()

        def block(_: Worker) -> None:
            stuck.set()
            release.wait()

        blocking = worker.ask(Start(block), block=False)
        stuck.wait()
        with pytest.raises(DeadlineExceeded) as caught:
            worker.ask(Add(1), timeout=0.01)
        assert not caught.value.started
        release.set()
        blocking.get(timeout=10)
        assert worker.ask(Add(0)) == 0  # it never ran


def test_ask_async_from_another_loop() -> None:
    """A host's own loop awaits an actor of a system in a thread; a cancelled wait withdraws what has not started."""

    async def host(system: ActorSystem) -> None:
        worker = system.spawn(Worker)
        assert await worker.ask_async(Add(1)) == 1
        assert await worker.ask(Add(1), block=False) == 2
        release = threading.Event()
        running = asyncio.ensure_future(worker.ask_async(Start(lambda _: asyncio.to_thread(release.wait))))
        while worker.inspect().current != "Start":  # noqa: ASYNC110 # another thread moves it
            await asyncio.sleep(0)
        waiting = asyncio.ensure_future(worker.ask_async(Add(100)))
        while worker.inspect().queued == 0:  # noqa: ASYNC110 # as above
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert worker.inspect().queued == 0
        release.set()
        assert await running
        with pytest.raises(DeadlineExceeded):
            await worker.ask_async(Work(10_000), timeout=0.01)
        assert await worker.kill(block=False)
        with pytest.raises(ActorDead):
            await worker.ask_async(Add(1))

    with ActorSystem.in_thread() as system:
        asyncio.run(host(system))


def test_spawn_and_stop_from_many_threads() -> None:
    """Threads that spawn the same name see one winner each round, and every stop is answered."""
    with ActorSystem.in_thread() as system:
        won: list[int] = []

        def compete(index: int) -> None:
            for _ in range(50):
                try:
                    ref = system.spawn(Worker, name="contested")
                except DuplicateName:
                    continue
                won.append(index)
                ref.ask(Add(1))
                assert ref.stop()

        in_threads(4, compete)
        assert won
        assert system.actors() == []


@pytest.mark.parametrize("supervision", [None, OneForOne(intensity=10**6, backoff=Backoff(max_s=0))])
def test_no_ask_is_left_unanswered(supervision: OneForOne | None) -> None:
    """Asks from several threads that race with stops, kills, crashes and restarts are all resolved."""
    with ActorSystem.in_thread(on_failure=ignore_failure) as system:
        asked: list[list[Future[Any]]] = [[] for _ in range(4)]

        def race(index: int) -> None:
            rng = random.Random(index)
            for _ in range(150):
                ref = system.get("target")
                if ref is None:
                    try:
                        ref = system.spawn(Worker, name="target", supervision=supervision)
                    except DuplicateName:
                        continue
                for _ in range(5):
                    chance = rng.random()
                    if chance < 0.1:
                        asked[index].append(ref.stop(block=False))
                    elif chance < 0.2:
                        asked[index].append(ref.kill(block=False))
                    else:
                        message = Raise(BUG) if chance < 0.3 else Add(1)
                        asked[index].append(ref.ask(message, block=False, timeout=None if chance < 0.9 else 5))

        in_threads(4, race)
        seen = {outcome(future) for futures in asked for future in futures}
        assert "unanswered" not in seen
        assert {"reply", "ActorDead"} <= seen


def outcome(future: Future[Any]) -> str:
    try:
        future.get(timeout=10)
    except (ActorDead, ActorCrashed, MailboxFull) as error:
        return type(error).__name__
    except pykka.Timeout:
        return "unanswered"
    return "reply"


def test_asks_that_race_with_the_end_of_the_system() -> None:
    """Asks sent while another thread leaves the system, and after its loop has closed, are answered."""
    for _ in range(20):
        outcomes: list[str] = []
        started = threading.Event()
        stack = ActorSystem.in_thread()
        system = stack.__enter__()
        worker = system.spawn(Worker)

        def ask_on(worker: Any = worker, started: Any = started, outcomes: Any = outcomes) -> None:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                future = worker.ask(Add(1), block=False)
                outcomes.append(outcome(future))
                started.set()
                if outcomes[-1] != "reply":
                    return

        thread = threading.Thread(target=ask_on)
        thread.start()
        started.wait()
        stack.__exit__(None, None, None)
        thread.join()
        assert outcomes[-1] == "ActorDead"
        with pytest.raises(SystemNotRunning):
            system.spawn(Worker)


def test_loop_closed_without_leaving_the_system() -> None:
    """A host that closes the loop under a running system gets ActorDead and SystemNotRunning, not a hang."""
    loop = asyncio.new_event_loop()
    system = ActorSystem()

    async def enter() -> Any:
        await system.__aenter__()
        ref = system.spawn(Worker)
        await ref.ask_async(Add(1))
        return ref

    ref: Any = loop.run_until_complete(enter())
    loop.close()

    def outside(_: int) -> None:
        with pytest.raises(ActorDead):
            ref.ask(Add(1))
        with pytest.raises(ActorDead):
            ref.tell(Add(1))
        assert not ref.stop()
        assert not ref.kill()
        with pytest.raises(SystemNotRunning):
            system.spawn(Worker)

    in_threads(1, outside)


class Slow(Actor):
    def on_receive(self, message: Any) -> Any:
        return threading.get_ident()


def test_handlers_run_in_the_loops_thread() -> None:
    """Whoever asks, a handler runs in the one thread of the system's loop."""
    with ActorSystem.in_thread() as system:
        ref = system.spawn(Slow)
        seen: list[int] = []
        in_threads(3, lambda _: seen.append(ref.ask("who?")))
        assert len(set(seen)) == 1
        assert seen[0] != threading.get_ident()
