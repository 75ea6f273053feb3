"""Tables and goals: pure functions of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.s3.measure import Measured
from tests.bench.s3.trees import MIB

# Of one case: the rounds of each tool and step.
Results = Mapping[tuple[str, str], Sequence[Measured]]

OURS, FLOOR = "modhub", "floor"
SIMPLE = ("s5cmd", "rclone", "aws")
ALL_PEERS = (*SIMPLE, "restic")
SENT_BY_HEADS = 16 * 1024


@dataclass(frozen=True)
class Goal:
    """A goal and whether it was met.

    Attributes:
        text: What was asked for.
        value: What was measured, in words.
        met: Whether it was; none if what it is compared with was not run.
    """

    text: str
    value: str
    met: bool | None


def median(rounds: Sequence[Measured]) -> Measured:
    """The round whose seconds are the median (of two, the slower): its other figures belong together with them."""
    return sorted(rounds, key=lambda one: one.seconds)[len(rounds) // 2]


def table(results: Results, step: str) -> list[str]:
    """One line a tool, with its ratio to modhub's median."""
    lines = [f"  {step:<13}{'time':>9}{'x modhub':>10}{'requests':>10}{'PUTs':>8}{'sent':>11}{'peak mem':>10}  rounds"]
    ours = seconds(results, OURS, step)
    for (name, done), rounds in results.items():
        if done != step:
            continue
        one = median(rounds)
        ratio = f"{one.seconds / ours:9.2f}x" if ours else f"{'':>10}"
        spread = f"{len(rounds)}, {min(r.seconds for r in rounds):.2f} to {max(r.seconds for r in rounds):.2f} s"
        lines.append(
            f"  {name:<13}{one.seconds:7.2f} s{ratio}{one.traffic.requests:>10,}{one.traffic.puts:>8,}"
            f"{one.traffic.received / MIB:>7.1f} MiB{one.peak / MIB:>6.0f} MiB  {spread}"
        )
        if name == OURS:
            fresh = statistics.median(round_.process for round_ in rounds)
            lines.append(f"    as a fresh process, with its imports: {fresh:.2f} s")
    return lines


def seconds(results: Results, name: str, step: str) -> float | None:
    """The median of a tool, if it was run."""
    rounds = results.get((name, step))
    return median(rounds).seconds if rounds else None


def best(results: Results, names: Iterable[str], step: str) -> tuple[str, float] | None:
    """The fastest of some tools, and its median."""
    found = [(value, name) for name in names if (value := seconds(results, name, step)) is not None]
    return (min(found)[1], min(found)[0]) if found else None


def faster_than(results: Results, names: Sequence[str], step: str, times: float) -> Goal:
    """Whether modhub is that many times as fast as the best of some tools."""
    text = f"{step} >= {times:g}x the best of {', '.join(names)}"
    ours, peer = seconds(results, OURS, step), best(results, names, step)
    if ours is None or peer is None:
        return Goal(text, "not run", None)
    return Goal(text, f"{peer[1] / ours:.2f}x {peer[0]}", peer[1] / ours >= times)


def sent_at_most(results: Results, step: str, limit: int) -> Goal:
    """Whether modhub never sent more content than this in any round."""
    text = f"{step} sends <= {limit / MIB:g} MiB"
    rounds = results.get((OURS, step))
    if not rounds:
        return Goal(text, "not run", None)
    most = max(one.traffic.received for one in rounds)
    return Goal(text, f"{most / MIB:.3f} MiB, {median(rounds).traffic.puts} PUTs", most <= limit)


def goals(case: str, results: Results, walk: Sequence[float]) -> list[Goal]:
    """The goals of a case.

    Args:
        case: Its letter.
        results: What was measured.
        walk: Seconds of bare stat walks of the tree of (e).
    """
    if case == "a":
        return [
            goal
            for step in ("dehydrate", "hydrate")
            for goal in (faster_than(results, SIMPLE, step, 5), faster_than(results, ("restic",), step, 1))
        ]
    if case == "b":
        return [faster_than(results, ALL_PEERS, step, 0.9) for step in ("dehydrate", "hydrate")]
    if case == "c":
        return [faster_than(results, SIMPLE, step, 3) for step in ("dehydrate", "hydrate")]
    if case == "d":
        return [sent_at_most(results, "again", 8 * MIB), faster_than(results, ("s5cmd",), "again", 10)]
    if case == "e":
        ours = seconds(results, OURS, "again")
        text = "again <= 3x a bare stat walk of the tree"
        if ours is None or not walk:
            return [Goal(text, "not run", None)]
        floor = statistics.median(walk)
        verdict = Goal(text, f"{ours / floor:.2f}x {floor * 1000:.0f} ms", ours <= 3 * floor)
        # What is put then is at most the head, which says whose the module is.
        return [sent_at_most(results, "again", SENT_BY_HEADS), verdict]
    rounds = results.get((OURS, "erase"))
    if not rounds:
        return []
    most = max(one.traffic.requests for one in rounds)
    return [Goal("erase of 20,000 objects in <= 100 requests", f"{most}", most <= 100)]


def verdicts(found: Iterable[Goal]) -> list[str]:
    """One line a goal."""
    words = {True: "met", False: "MISSED", None: "not judged"}
    return [f"  goal: {goal.text}: {goal.value}: {words[goal.met]}" for goal in found]
