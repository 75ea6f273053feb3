"""`make soak MINUTES=n`: a hub under random load and random faults, and a book outside of it that tells what it must hold.

    python -m tests.faults.soak [--minutes 10] [--seed N] [--keep]

Two thirds of the time the host is killed and ended again and again; in the last third one host lives, so that growth of
its memory and descriptors can be seen. Exit code 1 on any loss, or growth beyond the bounds below.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from tests.faults.book import Book
from tests.faults.rows import rows
from tests.faults.sabotage import SABOTAGES
from tests.hub.marked import kill_all, pids_of, processes_of

REPORT_S = 30.0
ENDS_S = 120.0
# Between the means of the first and the last third of the period in which one host lived.
MEMORY_GROWTH, MEMORY_SLACK_MIB = 1.15, 12.0
# Running servers come and go, and each has a few.
DESCRIPTOR_SLACK = 12.0


@dataclass(frozen=True)
class Sample:
    """What a host uses at one time."""

    at: float
    memory_mib: float
    descriptors: int
    threads: int


def sample(pid: int, at: float) -> Sample | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = dict(line.split(":", 1) for line in status.splitlines())
    if "VmRSS" not in fields:  # it has just ended
        return None
    return Sample(at, int(fields["VmRSS"].split()[0]) / 1024, descriptors, int(fields["Threads"]))


def growth(samples: list[Sample]) -> tuple[str, list[str]]:
    """Compare the first and the last third of a host's life. Returns the line to print, and what grew too much."""
    third = len(samples) // 3
    if third < 3:
        return "growth: the host did not live long enough to tell", []
    first, last = samples[:third], samples[-third:]
    before, after = mean(s.memory_mib for s in first), mean(s.memory_mib for s in last)
    open_before, open_after = mean(s.descriptors for s in first), mean(s.descriptors for s in last)
    bound = before * MEMORY_GROWTH + MEMORY_SLACK_MIB
    line = (
        f"memory {before:.1f} -> {after:.1f} MiB (at most {bound:.1f}), "
        f"descriptors {open_before:.1f} -> {open_after:.1f} (at most {open_before + DESCRIPTOR_SLACK:.1f}), "
        f"threads {mean(s.threads for s in first):.1f} -> {mean(s.threads for s in last):.1f}, "
        f"over {samples[-1].at - samples[0].at:.0f} s of one host"
    )
    grown = ["memory"] if after > bound else []
    grown += ["descriptors"] if open_after > open_before + DESCRIPTOR_SLACK else []
    return line, grown


class Soak:
    """The supervisor: starts hosts, and does to them, their children and the backend what happens at night."""

    def __init__(
        self, root: Path, seconds: float, seed: int, options: tuple[str, ...] = (), *, first: bool = False
    ) -> None:
        self.root = root
        self.first = first
        self.options = options
        self.chance = random.Random(seed)
        self.started = time.monotonic()
        self.until = self.started + seconds
        self.kills_until = self.started + seconds * 2 / 3
        self.book = Book(root / "book")
        self.faults: Counter[str] = Counter()
        self.hosts = 0
        self.host: subprocess.Popen[str]
        self.samples: list[Sample] = []
        self.lost: list[str] = []
        self.stopped: list[tuple[float, int]] = []
        self.weather_until = 0.0
        self.reported = self.started
        (root / "book").touch()

    def run(self) -> None:
        self.start()
        while (now := time.monotonic()) < self.kills_until:
            if self.live(min(self.kills_until, now + self.chance.uniform(0.3, 7.0))):
                self.strike_host()
                self.start()
        self.samples.clear()
        self.live(self.until)
        self.clear_up()
        self.end_host()
        self.verify()

    def start(self, *options: str) -> None:
        self.hosts += 1
        command = [sys.executable, "-m", "tests.faults.soak_host", str(self.root), str(self.chance.randrange(10**6))]
        with (self.root / "host.log").open("ab") as log:
            self.host = subprocess.Popen(
                [*command, *self.options, *options], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.host.stdout is not None
        with self.host.stdout:
            if self.host.stdout.readline() != "running\n":
                self.lose(f"a host did not start: {(self.root / 'host.log').read_text()[-2000:]}")

    def live(self, until: float) -> bool:
        """Let the host work for a while, its children and its backend in trouble now and then. Tells whether it lives."""
        while (now := time.monotonic()) < until:
            if self.first and self.has_lost():
                self.kills_until = self.until = now
                return False
            if self.host.poll() is not None:
                self.lose(f"the host ended with {self.host.returncode}: {(self.root / 'host.log').read_text()[-2000:]}")
                self.start()
            self.strike_children(now)
            self.change_weather(now)
            if found := sample(self.host.pid, now):
                self.samples.append(found)
            if now - self.reported >= REPORT_S:
                self.reported = now
                self.report()
            time.sleep(0.25)  # the pace of the faults
        return self.host.poll() is None

    def strike_host(self) -> None:
        self.clear_up()
        if self.chance.random() < 0.25:
            self.faults["host ended"] += 1
            self.end_host()
        else:
            self.faults["host killed"] += 1
            self.host.kill()
            self.host.wait()

    def end_host(self) -> None:
        self.host.terminate()
        try:
            status = self.host.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self.host.send_signal(signal.SIGABRT)
            self.host.wait()
            self.lose(f"the host did not end within {ENDS_S:g} s: {(self.root / 'host.log').read_text()[-8000:]}")
            return
        if status != 0:
            self.lose(f"the host ended with {status}: {(self.root / 'host.log').read_text()[-2000:]}")

    def strike_children(self, now: float) -> None:
        for at, pid in list(self.stopped):
            if now >= at:
                self.stopped.remove((at, pid))
                self._signal(pid, signal.SIGCONT)
        if self.chance.random() > 0.3:
            return
        children = pids_of(self.root / "data")
        if not children:
            return
        pid = self.chance.choice(children)
        if self.chance.random() < 0.8:
            self.faults["child killed"] += 1
            self._signal(pid, signal.SIGKILL)
        else:
            self.faults["child stopped"] += 1
            self._signal(pid, signal.SIGSTOP)
            self.stopped.append((now + self.chance.uniform(0.1, 4.0), pid))

    @staticmethod
    def _signal(pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def change_weather(self, now: float) -> None:
        if now < self.weather_until:
            return
        path = self.root / "weather"
        if path.exists():
            path.unlink()
            self.weather_until = now + self.chance.uniform(1.0, 6.0)
            return
        weather = self.chance.choice(("down", "flaky", "slow"))
        self.faults[f"backend {weather}"] += 1
        path.with_suffix(".new").write_text(weather)
        path.with_suffix(".new").rename(path)
        self.weather_until = now + self.chance.uniform(0.5, 4.0)

    def clear_up(self) -> None:
        """End what would only hold up the end."""
        for _, pid in self.stopped:
            self._signal(pid, signal.SIGCONT)
        self.stopped.clear()
        (self.root / "weather").unlink(missing_ok=True)
        self.weather_until = 0.0

    def verify(self) -> None:
        """One more host, which compares all and obliterates all; then nothing at all may be left."""
        data = self.root / "data"
        self.start("verify")
        try:
            if self.host.wait(2 * ENDS_S):
                self.lose(
                    f"the last host ended with {self.host.returncode}: {(self.root / 'host.log').read_text()[-2000:]}"
                )
        except subprocess.TimeoutExpired:
            self.host.kill()
            self.host.wait()
            self.lose("the last host did not end")
        for what, left in (
            ("processes", processes_of(data)),
            ("rows in the journal", list(rows(data))),
            ("in the backend", list((self.root / "backend").rglob("*"))),
            *((name, list((data / name).glob("*"))) for name in ("modules", "trash", "logs")),
        ):
            if left:
                self.lose(f"{what}: {left}")

    def has_lost(self) -> bool:
        self.book.catch_up()
        return bool(self.book.lost or self.lost)

    def lose(self, text: str) -> None:
        self.lost.append(text)
        print(f"LOST {text}", flush=True)

    def report(self) -> None:
        self.book.catch_up()
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        last = self.samples[-1] if self.samples else None
        uses = f"; host {last.memory_mib:.0f} MiB, {last.descriptors} descriptors" if last else ""
        print(
            f"{time.monotonic() - self.started:4.0f} s: operations {sum(self.book.did.values())}, hosts {self.hosts}, "
            f"faults {sum(self.faults.values())} ({faults}), verified {self.book.verified} values "
            f"({self.book.verified_bytes / 2**20:.1f} MiB), losses {len(self.book.lost) + len(self.lost)}{uses}",
            flush=True,
        )

    def conclude(self) -> int:
        """Print the result; returns the exit code."""
        self.report()
        by_name: Counter[str] = Counter()
        done: Counter[str] = Counter()
        for name, count in self.book.did.items():
            operation, _, outcome = name.partition(" ")
            by_name[operation] += count
            done[operation] += count if outcome == "done" else 0
        print("operations (of them done): " + ", ".join(f"{n} {by_name[n]} ({done[n]})" for n in sorted(by_name)))
        line, grown = growth(self.samples)
        print(line)
        for text in self.book.lost:
            print(f"LOST {text}")
        print(f"losses {len(self.book.lost) + len(self.lost)}, growth {', '.join(grown) or 'none'}")
        return 1 if self.book.lost or self.lost or grown else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--seed", type=int, default=None, help="of the supervisor's choices; by default another each time"
    )
    parser.add_argument("--first", action="store_true", help="stop at the first loss")
    parser.add_argument("--keep", action="store_true", help="keep the directory, to look into it")
    parser.add_argument("--sabotage", choices=sorted(SABOTAGES), help="break the product, to see that it is noticed")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    root = Path(tempfile.mkdtemp(prefix="modhub-soak-"))
    print(f"seed {seed}, {given.minutes:g} minutes, in {root}", flush=True)
    options = (f"sabotage={given.sabotage}",) if given.sabotage else ()
    soak = Soak(root, given.minutes * 60, seed, options, first=given.first)
    try:
        soak.run()
        return soak.conclude()
    finally:
        if hasattr(soak, "host"):
            soak.host.kill()
            soak.host.wait()
        with suppress(sqlite3.Error, TypeError):  # it never had a journal
            kill_all(root / "data")
        if not given.keep:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
