"""Measure the actors against floors taken in the same run: `python -m tests.bench.actors_bench`.

Absolute figures belong to the machine; the ratios and the gates beside them are what is compared over time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pykka

from actors import (
    Actor,
    ActorCrashed,
    ActorDead,
    ActorFailure,
    ActorSystem,
    Backoff,
    DuplicateName,
    Future,
    MailboxFull,
    OneForOne,
    Ref,
)

failed_gates: list[str] = []


def report(name: str, value: str, gate: str = "", *, met: bool = True) -> None:
    """Print one line."""
    verdict = "" if not gate else f"   gate {gate}: {'met' if met else 'MISSED'}"
    if not met:
        failed_gates.append(name)
    print(f"{name:<58} {value:>18}{verdict}", flush=True)


class Echo(Actor):
    def on_receive(self, message: Any) -> Any:
        return message


class StockEcho(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


def rate(count: int, seconds: float) -> float:
    return count / seconds


async def ask_rate(ref: Ref[Any], count: int) -> float:
    begun = time.perf_counter()
    for number in range(count):
        await ref.ask_async(number)
    return rate(count, time.perf_counter() - begun)


async def queue_rate(count: int) -> float:
    """The floor: two tasks that play ping-pong over two queues."""
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def pong() -> None:
        while True:
            back.put_nowait(await there.get())

    task = asyncio.create_task(pong())
    begun = time.perf_counter()
    for number in range(count):
        there.put_nowait(number)
        await back.get()
    elapsed = time.perf_counter() - begun
    task.cancel()
    return rate(count, elapsed)


async def bench_ask(count: int) -> None:
    ratios: list[float] = []
    deadline_ratios: list[float] = []
    floors: list[float] = []
    async with ActorSystem() as system:
        ref = system.spawn(Echo)
        await ask_rate(ref, count // 10)
        for _ in range(7):  # interleaved: the machine's other load hits both sides
            floor = await queue_rate(count)
            floors.append(floor)
            ratios.append(await ask_rate(ref, count) / floor)
            begun = time.perf_counter()
            for number in range(count):
                await ref.ask_async(number, timeout=60)
            deadline_ratios.append(rate(count, time.perf_counter() - begun) / floor)
    ratio = statistics.median(ratios)
    report("asyncio.Queue ping-pong, the floor", f"{statistics.median(floors):,.0f}/s")
    report("ask / floor", f"{ratio:.2f}x", ">= 0.85x", met=ratio >= 0.85)
    report("ask with a deadline / floor", f"{statistics.median(deadline_ratios):.2f}x")


def bench_outside(count: int) -> None:
    with ActorSystem.in_thread() as system:

        class Sink(Echo):
            mailbox_capacity = 10**9

        ours: Any = system.spawn(Sink)
        stock: Any = StockEcho.start()
        try:
            rates: dict[str, list[float]] = {}
            for _ in range(5):
                for name, ref in (("ours", ours), ("stock", stock)):
                    for what, send, number in (("ask", ref.ask, count), ("tell", ref.tell, 5 * count)):
                        begun = time.perf_counter()
                        for message in range(number):
                            send(message)
                        elapsed = time.perf_counter() - begun
                        ref.ask(0)
                        rates.setdefault(f"{what} {name}", []).append(rate(number, elapsed))
        finally:
            stock.stop()
    for what in ("ask", "tell"):
        mine, theirs = statistics.median(rates[f"{what} ours"]), statistics.median(rates[f"{what} stock"])
        report(f"{what} from an outside thread / ThreadingActor", f"{mine / theirs:.2f}x ({mine:,.0f}/s)")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


async def start_actors(count: int) -> float:
    async with ActorSystem() as system:
        begun = time.perf_counter()
        refs = [system.spawn(Echo) for _ in range(count)]
        await refs[-1].ask_async(0)
        return time.perf_counter() - begun


async def idle_bytes(count: int) -> tuple[float, float]:
    """Return the bytes of an idle actor that has handled a message: by the allocator, and resident."""
    async with ActorSystem() as system:
        await system.spawn(Echo).ask_async(0)
        gc.collect()
        resident = resident_bytes()
        tracemalloc.start()
        refs = [system.spawn(Echo) for _ in range(count)]
        for ref in refs:
            await ref.ask_async(0)
        gc.collect()
        allocated = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return allocated / count, (resident_bytes() - resident) / count


def bench_starts(count: int, threads: int) -> None:
    ours = statistics.median(asyncio.run(start_actors(count)) for _ in range(3))
    resident = resident_bytes()
    begun = time.perf_counter()
    stock: list[Any] = [StockEcho.start() for _ in range(threads)]
    stock[-1].ask(0)
    theirs = (time.perf_counter() - begun) * count / threads
    stock_bytes = (resident_bytes() - resident) / threads
    for ref in stock:
        ref.stop(block=False)
    report(f"start of {count:,} actors", f"{ours:.3f} s")
    report(f"start of {count:,} ThreadingActors (from {threads:,}, linear)", f"{theirs:.2f} s")
    report("starts / ThreadingActor", f"{ours / theirs:.3f}x", "< 0.05x", met=ours / theirs < 0.05)
    allocated, grown = asyncio.run(idle_bytes(count))
    report("memory of an idle actor", f"{allocated / 1024:.2f} KiB", "<= 4 KiB", met=allocated <= 4096)
    report("  the same, resident (tracing included)", f"{grown / 1024:.2f} KiB")
    report("  an idle ThreadingActor, resident", f"{stock_bytes / 1024:.2f} KiB")


class Hot(Actor):
    """Tells itself each message again, so that its backlog never shrinks."""

    mailbox_capacity = 10**6

    def __init__(self) -> None:
        super().__init__()
        self.running = True

    def on_receive(self, message: Any) -> None:
        if message is None:
            self.running = False
        elif self.running:
            until = time.perf_counter() + 10e-6
            while time.perf_counter() < until:
                pass
            self.actor_ref.tell(message)


async def hot_p99(count: int) -> float:
    async with ActorSystem() as system:
        hot, other = system.spawn(Hot), system.spawn(Echo)
        for number in range(5_000):
            hot.tell(number)
        waits: list[float] = []
        for number in range(count):
            begun = time.perf_counter()
            await other.ask_async(number)
            waits.append((time.perf_counter() - begun) * 1000)
        hot.tell(None)
        await hot.kill(block=False)
    return statistics.quantiles(waits, n=100)[98]


def bench_hot(count: int) -> None:
    p99 = statistics.median(
        asyncio.run(hot_p99(count)) for _ in range(5)
    )  # one run hears every other load of the machine
    report("ask p99 beside an actor with a backlog of 5,000", f"{p99:.2f} ms", "< 5 ms", met=p99 < 5)


class Target(Actor):
    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise RuntimeError(message)
        if message == "later":
            return self.later()
        return message

    async def later(self) -> str:
        await asyncio.sleep(0)
        return "later"


def quiet(failure: ActorFailure) -> None:
    """Expected crashes stay out of the output."""


def outcome(future: Future[Any]) -> str:
    try:
        future.get(timeout=20)
    except (ActorDead, ActorCrashed, MailboxFull) as error:
        return type(error).__name__
    except pykka.Timeout:
        return "UNRESOLVED"
    return "reply"


def race(system: ActorSystem, seed: int, count: int, outcomes: Counter[str]) -> None:
    """Ask, stop, kill and crash one actor that other threads treat alike, and see that all is answered."""
    chance = random.Random(seed)
    strategies = (None, OneForOne(intensity=10**9, backoff=Backoff(max_s=0)))
    futures: list[Future[Any]] = []
    batch = 10
    for _ in range(count):
        ref = system.get("target")
        if ref is None:
            try:
                ref = system.spawn(Target, name="target", supervision=chance.choice(strategies))
            except DuplicateName:
                ref = system.get("target")
                if ref is None:
                    continue
        draw = chance.random()
        if draw < 0.02:
            futures.append(ref.stop(block=False))
        elif draw < 0.04:
            futures.append(ref.kill(block=False))
        else:
            message = "crash" if draw < 0.2 else "later" if draw < 0.3 else "plain"
            futures.append(ref.ask(message, block=False, timeout=10 if draw > 0.9 else None))
        if len(futures) >= batch:  # short batches, else all threads ask an actor that is dead already
            batch = chance.randint(1, 20)
            outcomes.update(map(outcome, futures))
            futures.clear()
    outcomes.update(map(outcome, futures))


def in_threads(number: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def bench_races(count: int) -> None:
    tallies = [Counter[str]() for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    begun = time.perf_counter()
    with ActorSystem.in_thread(on_failure=quiet) as system:
        in_threads(4, lambda index: race(system, index, count // 4, tallies[index]))
        counters = system.counters()
    sys.setswitchinterval(interval)
    total = sum(tallies, Counter[str]())
    unresolved = total.pop("UNRESOLVED", 0)
    report(
        f"unresolved of {total.total() + unresolved:,} racing asks, stops, kills",
        str(unresolved),
        "0",
        met=not unresolved,
    )
    print(f"  {dict(total)} in {time.perf_counter() - begun:.1f} s; {counters.spawned:,} spawned,", end=" ")
    print(f"{counters.restarts:,} restarts")


def main() -> None:
    """Run all benches; exit 1 when a gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of messages and actors")
    scale: float = parser.parse_args().scale
    asyncio.run(bench_ask(max(100, int(20_000 * scale))))
    bench_outside(max(100, int(5_000 * scale)))
    bench_starts(max(100, int(10_000 * scale)), max(50, int(2_000 * scale)))
    bench_hot(max(100, int(1_000 * scale)))
    bench_races(max(400, int(100_000 * scale)))
    if failed_gates:
        sys.exit("gates missed: " + ", ".join(failed_gates))


if __name__ == "__main__":
    main()
