"""The hub killed with -9 at crash points of every operation; `make faults` tries all of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults.points import Trace

pytestmark = pytest.mark.e2e

# Spread over all scenarios; all of them take minutes.
SAMPLE = 80


def faults(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.long
def test_nothing_is_lost_wherever_the_hub_is_killed() -> None:
    """Legal states, what was acknowledged and nothing else, no process, port or directory left, obliterated is gone."""
    done = faults("--sample", str(SAMPLE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"tried {SAMPLE}," in done.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("sabotage", "scenario", "point", "seen"),
    [
        ("clean before the commit", "deprovision/with changes", "put m/blobs/.*:before", "m holds None"),
        (
            "told before the journal",
            "hibernate/tiny",
            "hibernated.*:before",
            "hibernated, and the journal has hibernating",
        ),
        ("no sweep", "start/provisioned", "begin", "processes"),
        ("no clearing", "deprovision/hibernated", "disk:remove data/trash", "in trash and scratch"),
        ("obliteration forgotten", "obliterate/hibernated", "disk:rename", "m, whose obliteration was begun"),
        ("ports kept", "wake", "end", "are held for nobody"),
        (
            "undone without intent",
            "provision/of data that fails",
            "m=gone:before",
            "m is dirty, and its data is not there",
        ),
    ],
)
def test_a_loss_is_seen(sabotage: str, scenario: str, point: str, seen: str) -> None:
    """With the product broken on purpose the same run fails, says what was lost, and how to repeat it."""
    done = faults("--only", scenario, "--match", point, "--sabotage", sabotage)
    assert done.returncode == 1, done.stdout + done.stderr
    assert seen in done.stdout
    assert f"make faults ARGS=\"--only '{scenario}' --point " in done.stdout


def test_points_keep_their_names() -> None:
    """What comes twice is numbered, and nothing counts before the operation begins."""
    trace = Trace()
    trace.hit("early")
    trace.armed = True
    for name in ("a", "b", "a"):
        trace.hit(name)
    assert trace.passed == ["a", "b", "a#2"]
