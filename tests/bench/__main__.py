"""Run every `*_bench.py` beside this file, each in a process of its own: `python -m tests.bench [NAME... [--OPTION...]]`.

What stands from the first option on is given to each bench that is run.
A bench is a module with `def main() -> None` that prints its figures. A process each, since one bench's threads,
garbage and imported modules would otherwise stand in the next one's figures.
"""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def discover(wanted: list[str]) -> list[str]:
    """Names of the benches whose name contains one of the wanted words; all of them when none is wanted."""
    names = sorted(path.stem for path in HERE.glob("*_bench.py"))
    return [name for name in names if not wanted or any(word in name for word in wanted)]


def divided(words: list[str]) -> tuple[list[str], list[str]]:
    """Names, and what stands from the first option on."""
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    return words[:first], words[first:]


def run(name: str, options: list[str]) -> int:
    print(f"\n== {name.removesuffix('_bench')}", flush=True)
    started = time.monotonic()
    statement = f"from tests.bench.{name} import main; main()"
    code = subprocess.run([sys.executable, "-c", statement, *options], cwd=HERE.parent.parent, check=False).returncode
    outcome = "done" if code == 0 else f"FAILED with exit code {code}"
    print(f"-- {outcome} in {time.monotonic() - started:.1f} s", flush=True)
    return code


def main() -> None:
    wanted, options = divided(sys.argv[1:])
    names = discover(wanted)
    if not names:
        sys.exit(f"no bench matches {' '.join(wanted) or '*_bench.py'}")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs, load {load}")
    failed = [name for name in names if run(name, options) != 0]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


main()
