"""The soak itself, for seconds; `make soak` runs it for as long as you like."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults.soak import Sample, growth


def soak(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.soak", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.e2e
@pytest.mark.long
def test_a_hub_under_random_load_and_faults_loses_nothing() -> None:
    """Children and hosts killed, a backend that comes and goes: all that was acknowledged is there, and nothing is left."""
    done = soak("--minutes", "0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "losses 0, growth none" in done.stdout


@pytest.mark.e2e
@pytest.mark.long
def test_a_soak_sees_a_loss() -> None:
    """With a product that sends no data home, values are missed, and the soak fails."""
    done = soak("--minutes", "3", "--first", "--sabotage", "never sent")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "holds None, and may hold" in done.stdout


@pytest.mark.parametrize(
    ("memory", "descriptors", "grown"),
    [
        ([50.0] * 30, [40] * 30, []),
        ([50.0 + 2 * n for n in range(30)], [40] * 30, ["memory"]),
        ([50.0] * 30, [40 + n for n in range(30)], ["descriptors"]),
        ([50.0 + n % 5 for n in range(30)], [40 + n % 7 for n in range(30)], []),
    ],
    ids=["flat", "memory", "descriptors", "noise"],
)
def test_growth_is_told_from_noise(memory: list[float], descriptors: list[int], grown: list[str]) -> None:
    """The last third of a host's life is compared with the first."""
    samples = [Sample(float(n), m, d, 20) for n, (m, d) in enumerate(zip(memory, descriptors, strict=True))]
    assert growth(samples)[1] == grown
