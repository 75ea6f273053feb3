"""Modules on S3, beside what others send directories there with: against one server, in one run.

    python -m tests.bench s3 [--cases a,b,c,d,e,erase] [--tools modhub,s5cmd,rclone,restic,aws,floor]
                             [--rounds 3] [--slow 60] [--dir /dev/shm]

Each tool gets a fresh server in each round, with its data in memory, so that no disk is measured; the rounds of the
tools alternate, so that what else the machine does falls on all. The server shares the machine's processors with its
client and is a part of every figure. What has come back is compared with what was sent, once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.s3 import report, tools, trees
from tests.bench.s3.measure import Measured, run
from tests.bench.s3.peers import PEERS, Command, Place, Tool, many_objects, modhub
from tests.bench.s3.trees import Tree
from tests.s3_servers import seaweedfs

OBJECTS = 20_000
# Longer than two seconds, in which a change may have left no trace in a file's times.
SETTLED_S = 2.5


@dataclass(frozen=True)
class Case:
    """One tree and what is done with it, in the order of the steps."""

    letters: str
    title: str
    make: Callable[[Path], Tree]
    steps: tuple[str, ...]
    floor: bool = True
    change: Callable[[Tree], None] | None = None


@dataclass
class Run:
    """What a run of a case has found."""

    results: dict[tuple[str, str], list[Measured]] = field(default_factory=lambda: defaultdict(list))
    walks: list[float] = field(default_factory=list[float])


def cases(wanted: set[str]) -> list[Case]:
    """(c) and (e) are about the same tree, so one upload serves both."""
    found: list[Case] = []
    if "a" in wanted:
        found.append(Case("a", "2,000 files of 4 KiB", trees.small, ("dehydrate", "hydrate")))
    if "b" in wanted:
        found.append(Case("b", "8 files of 64 MiB", trees.big, ("dehydrate", "hydrate")))
    if wanted & {"c", "e"}:
        steps = ("dehydrate", *(["again"] if "e" in wanted else []), *(["hydrate"] if "c" in wanted else []))
        letters = "".join(sorted(wanted & {"c", "e"}))
        found.append(
            Case(letters, "20,000 files, 512 MiB; again: nothing changed", trees.mixed, steps, floor="c" in wanted)
        )
    if "d" in wanted:
        title = "a file of 1 GiB; again: one page of 4 KiB changed"
        found.append(Case("d", title, trees.page, ("dehydrate", "again"), floor=False, change=trees.change_page))
    return found


def main() -> None:
    """Measure, print, and say which goals were met."""
    parser = argparse.ArgumentParser(description="modhub on S3 beside its peers")
    parser.add_argument("--cases", default="a,b,c,d,e,erase")
    parser.add_argument("--tools", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", type=float, default=60.0, help="seconds of a tool's round that are not repeated")
    parser.add_argument("--dir", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    wanted = set(options.cases.split(","))
    chosen = located(options.tools.split(","))
    missed: list[str] = []
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="modhub-bench-") as name:
        base = Path(name)
        for case in cases(wanted):
            found = measure(case, chosen, base, options.rounds, options.slow)
            print(f"\n({case.letters}) {case.title}")
            for step in case.steps:
                print("\n".join(report.table(found.results, step)))
            missed += judged("".join(case.letters), found)
        if "erase" in wanted and report.OURS in chosen:
            found = erasures(base, options.rounds)
            print(f"\n(erase) a module of {OBJECTS:,} objects")
            print("\n".join(report.table(found.results, "erase")))
            missed += judged("x", found)
    print(f"\nload average at the end {load()}; goals missed: {len(missed)}")


def located(names: list[str]) -> dict[str, Tool]:
    """The tools that are here, or can be; the others are named and left out."""
    chosen: dict[str, Tool] = {}
    for name in names:
        try:
            chosen[name] = PEERS[name]()
        except LookupError as error:
            print(f"{name} is left out: {error}")
        else:
            if name != report.OURS:
                print(tools.version({"floor": "curl"}.get(name, name), chosen[name].program))
    return chosen


def judged(letters: str, found: Run) -> list[str]:
    judgements = [goal for letter in letters for goal in report.goals(letter, found.results, found.walks)]
    print("\n".join(report.verdicts(judgements)), flush=True)
    return [goal.text for goal in judgements if goal.met is False]


def measure(case: Case, chosen: dict[str, Tool], base: Path, rounds: int, slow: float) -> Run:
    """All rounds of all tools."""
    tree = case.make(base)
    time.sleep(SETTLED_S)
    found = Run()
    too_slow: set[str] = set()
    for number in range(rounds):
        for name, tool in chosen.items():
            if name in too_slow or (name == report.FLOOR and not case.floor):
                continue
            took = one_round(case, tool, tree, found, verify=number == 0)
            print(f"   ({case.letters}) round {number + 1}, {name}: {took:.1f} s, load {load()}", flush=True)
            if took > slow:
                too_slow.add(name)
    subprocess.run(["rm", "-rf", tree.path.parent], check=True)
    return found


def one_round(case: Case, tool: Tool, tree: Tree, found: Run, *, verify: bool) -> float:
    """All steps of one tool on a fresh server; the seconds that were measured."""
    total = 0.0
    name, ours = tool.name, tool.name == report.OURS
    with tempfile.TemporaryDirectory(dir=tree.path.parent) as folder, seaweedfs(Path(folder, "server")) as server:
        place, copy = Place(server, Path(folder)), Path(folder, "copy")
        # The first writes to a bucket make the server allocate volumes, which is nothing of the tool's.
        run(many_objects(place, "warm/", 16), server)
        if tool.prepare is not None:
            run(tool.prepare(place), server)
        for step in case.steps:
            if step == "again" and name == report.FLOOR:
                continue
            if step == "again" and case.change is not None:
                # Times of objects are listed in seconds: a file changed within the same one would not look newer.
                time.sleep(1.5)
                case.change(tree)
            command = tool.fetch(place, tree, copy) if step == "hydrate" else None
            command = command or (tool.again if step == "again" else tool.send)(place, tree)
            if step == "hydrate" and name == report.FLOOR:
                copy.mkdir()
            measured = run(command, server, inner=ours)
            found.results[name, step].append(measured)
            total += measured.process
            if ours and step == "again":
                found.walks += [walk(tree.path) for _ in range(3)]
            if step == "hydrate" and verify:
                same(tree.objects if name == report.FLOOR else tree.path, copy)
    return total


def erasures(base: Path, rounds: int) -> Run:
    """Obliterations of a module that was given many objects."""
    found = Run()
    for number in range(rounds):
        with tempfile.TemporaryDirectory(dir=base) as folder, seaweedfs(Path(folder, "server")) as server:
            place, tool, empty = Place(server, Path(folder)), modhub(), Path(folder, "empty")
            empty.mkdir()
            run(tool.send(place, Tree(empty, empty, 0, 0)), server)
            run(many_objects(place, "bench/bench/blobs/", OBJECTS), server)
            command = tool.send(place, Tree(empty, empty, 0, 0))
            erase = Command([word if word != "dehydrate" else "erase" for word in command.argv])
            found.results[report.OURS, "erase"].append(run(erase, server, inner=True))
            print(f"   (erase) round {number + 1}, load {load()}", flush=True)
    return found


def walk(path: Path) -> float:
    """Seconds that it takes to look at each file's status, and at nothing else."""

    def look(folder: str) -> int:
        count = 0
        with os.scandir(folder) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                count += look(entry.path) if entry.is_dir(follow_symlinks=False) else 1
        return count

    began = time.perf_counter()
    look(str(path))
    return time.perf_counter() - began


def same(one: Path, other: Path) -> None:
    """Compare two trees' names and contents."""
    subprocess.run(["diff", "-rq", one, other], check=True)


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"
