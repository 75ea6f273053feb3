"""What a kind's processes may use at the most: read from plain data, put into the terms of prlimit(1) and cgroups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

LimitValue = int | float | str

UNLIMITED = "unlimited"
# Each process for itself, by setrlimit(2). As prlimit's options are called, and whether the value is a size in bytes.
_RLIMITS: Mapping[str, tuple[str, bool]] = {
    "as": ("as", True),
    "core": ("core", True),
    "cpu_s": ("cpu", False),
    "data": ("data", True),
    "fsize": ("fsize", True),
    "memlock": ("memlock", True),
    "nofile": ("nofile", False),
    "nproc": ("nproc", False),
    "stack": ("stack", True),
}
# All processes of a module together, by cgroups.
CONTROLLERS = ("memory", "cpu", "pids")
NAMES = (*CONTROLLERS, *_RLIMITS)
ALLOWED = (
    f"{', '.join(NAMES)}; sizes in bytes or as '512M', `cpu` in CPUs such as 0.5, the others whole numbers; "
    f"those of one process also '{UNLIMITED}'"
)
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LARGEST = 1 << 62
# Time for a process to end in good order on SIGXCPU, after which it gets SIGKILL.
_CPU_GRACE_S = 5
# The least share that the kernel takes.
_LEAST_CPUS = 0.01


@dataclass(frozen=True, slots=True)
class Limits:
    """A kind's limits, ready to be applied.

    Attributes:
        rlimits: options for prlimit(1).
        memory: bytes for all processes of a module together, swap included; `None` = no limit.
        cpu: CPUs for all of them together.
        pids: number of processes and threads.
    """

    rlimits: tuple[str, ...] = ()
    memory: int | None = None
    cpu: float | None = None
    pids: int | None = None

    @property
    def controllers(self) -> frozenset[str]:
        """What cgroups are needed for."""
        return frozenset(name for name in CONTROLLERS if getattr(self, name) is not None)


def parse_limits(given: Mapping[str, LimitValue]) -> Limits:
    """Read a kind's `limits`.

    Args:
        given: values by name.

    Returns:
        The limits.

    Raises:
        ValueError: a name or value can't be used; the message says which.
    """
    rlimits: list[str] = []
    shared: dict[str, int] = {}
    cpu: float | None = None
    for name, value in given.items():
        if name == "cpu":
            if isinstance(value, bool | str) or not _LEAST_CPUS <= value < _LARGEST:
                raise ValueError(f"{name} = {value!r}")
            cpu = float(value)
        elif name in CONTROLLERS:
            shared[name] = _number(name, value, size=name == "memory", least=1)
        elif name in _RLIMITS:
            option, size = _RLIMITS[name]
            if value == UNLIMITED:
                rlimits.append(f"--{option}={UNLIMITED}")
                continue
            number = _number(name, value, size=size, least=0)
            # Soft and hard alike would be SIGKILL without SIGXCPU: nobody could tell why it ended.
            rlimits.append(f"--{option}={number}:{number + _CPU_GRACE_S if name == 'cpu_s' else number}")
        else:
            raise ValueError(repr(name))
    return Limits(tuple(rlimits), cpu=cpu, **shared)


def parse_size(text: str) -> int:
    """Read a size such as `512M`.

    Args:
        text: bytes, or a number with K, M, G or T.

    Returns:
        Bytes.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2]]


def _number(name: str, value: LimitValue, *, size: bool, least: int) -> int:
    if isinstance(value, str) and size:
        with suppress(ValueError):
            value = parse_size(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < _LARGEST:
        raise ValueError(f"{name} = {value!r}")
    return value
