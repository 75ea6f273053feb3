"""Limits: plain data in, options for prlimit and numbers for cgroups out."""

import subprocess

import pytest

from hub.instance.limits import NAMES, Limits, LimitValue, parse_limits


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, Limits()),
        ({"nofile": 64, "core": 0}, Limits(("--nofile=64:64", "--core=0:0"))),
        (
            {"as": "2G", "fsize": "1 MiB", "data": "10KB"},
            Limits(("--as=2147483648:2147483648", "--fsize=1048576:1048576", "--data=10240:10240")),
        ),
        ({"core": "unlimited"}, Limits(("--core=unlimited",))),
        ({"memory": "64M", "cpu": 0.5, "pids": 10}, Limits((), 64 << 20, 0.5, 10)),
        ({"cpu": 2}, Limits(cpu=2.0)),
    ],
)
def test_limits_are_read(given: dict[str, LimitValue], limits: Limits) -> None:
    """Sizes have units, those of one process become options, those of a module numbers."""
    assert parse_limits(given) == limits


def test_cpu_time_leaves_time_to_end() -> None:
    """SIGXCPU comes first, by which a person can tell why it ended, and SIGKILL only later."""
    assert parse_limits({"cpu_s": 10}).rlimits == ("--cpu=10:15",)


def test_what_needs_cgroups_is_named() -> None:
    """Limits of one process need none."""
    assert parse_limits({"nofile": 1}).controllers == frozenset()
    assert parse_limits({"memory": 1, "pids": 1, "nofile": 1}).controllers == {"memory", "pids"}


@pytest.mark.parametrize("name", [n for n in NAMES if n not in {"memory", "cpu", "pids"}])
def test_prlimit_knows_each_limit(name: str) -> None:
    """The real tool takes the option of each limit of one process."""
    value = {"nofile": 100, "nproc": 1000, "memlock": 4096}.get(name, 1 << 30)
    subprocess.run(["prlimit", *parse_limits({name: value}).rlimits, "true"], check=True, timeout=30)
