"""What a module's processes used of late: some thousand bytes a module, however many are awake."""

from __future__ import annotations

from array import array

from hub.info import UsageSample

MAX_SAMPLES = 240
_FIELDS = 3


class UsageHistory:
    """The last samples of one module.

    Attributes:
        last: the newest one.
    """

    __slots__ = ("_values", "last")

    def __init__(self, first: UsageSample) -> None:
        # Not a deque of samples: that takes six times as much.
        self._values = array("d")
        self.add(first)

    def add(self, sample: UsageSample) -> None:
        """Add a sample; the oldest one makes room."""
        self.last = sample
        self._values.extend((sample.at, sample.memory_bytes, sample.cpu_percent))
        del self._values[: -MAX_SAMPLES * _FIELDS]

    def samples(self) -> tuple[UsageSample, ...]:
        """Return all samples, the oldest one first."""
        values = iter(self._values)
        return tuple(UsageSample(at, int(memory), cpu) for at, memory, cpu in zip(values, values, values, strict=True))
