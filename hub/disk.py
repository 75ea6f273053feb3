"""The disk of the data directory: whether it is low, and what of its room hydrations and copies have been promised."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hub.admission import Budget, Outlook, disk_reserve_of, is_disk_low, retry_after_s
from hub.errors import BudgetExceeded
from hub.events import EventBus
from hub.workers import Workers


@dataclass(slots=True)
class _Promise:
    needed: int
    written: int = 0


class Disk:
    """Looks at the disk, tells of it, and keeps hydrations from filling it.

    Args:
        root: the data directory.
        reserve: bytes that are to stay free; `None` = what suits the disk, 0 = all may be used.
        workers: for what blocks.
        bus: for `hub.disk_low` and `hub.disk_ok`.

    Attributes:
        low: whether it was below its reserve at the last look.
    """

    def __init__(self, root: Path, reserve: int | None, workers: Workers, bus: EventBus) -> None:
        self._root = root
        self._reserve = reserve
        self._workers = workers
        self._bus = bus
        self._lock = threading.Lock()
        self._promises: dict[str, _Promise] = {}
        self.low = False

    async def look(self) -> None:
        """Find out how much is free now, and tell where that has crossed the reserve."""
        with suppress(OSError):  # who can't be asked is as he was
            self._note(*await self._workers.run(self._measure))

    def look_now(self) -> None:
        """As `look`, before a start, which it costs no turn of a thread.

        A local file system answers from memory, and on no other one is a hub's data directory (SQLite's log needs memory
        that is shared). Nor does it block for longer than the start itself, which opens the log of the module.
        """
        with suppress(OSError):
            self._note(*self._measure())

    def _note(self, free: int, reserve: int) -> None:
        low = is_disk_low(free, reserve, before=self.low)
        if low is not self.low:
            self.low = low
            self._bus.publish("hub.disk_low" if low else "hub.disk_ok", free_bytes=free, reserve_bytes=reserve)

    def promise(self, module_id: str, needed: int, *, refused: str = "was not brought here") -> None:
        """Promise a hydration, or a checkpoint's copy, its room; called on a thread, before anything is written.

        Args:
            module_id: the module.
            needed: bytes that will be written.
            refused: what becomes of the module where there is no room, in words.

        Raises:
            BudgetExceeded: they would not fit beside the reserve and what others have still to write.
        """
        with self._lock:
            # Measured within: what another has written and not told yet counts twice then, and never not at all.
            free, reserve = self._measure()
            others = sum(p.needed - min(p.written, p.needed) for p in self._promises.values())
            room = free - reserve - others
            if needed <= max(room, 0):
                self._promises[module_id] = _Promise(needed)
                return
        raise BudgetExceeded(
            f"module {module_id!r} {refused}: its data takes {needed} bytes, and of {free} free ones"
            f" {reserve} are reserved and {others} promised",
            hint="free space on the disk of the data directory; modules are still sent home",
            budget=Budget.DISK.value,
            retry_after_s=retry_after_s(Budget.DISK, Outlook()),
        )

    def note_written(self, module_id: str, written: int) -> None:
        """Take note of how much a hydration has written: that room is not promised any more but used."""
        with self._lock:
            if (promise := self._promises.get(module_id)) is not None:
                promise.written = written

    def end(self, module_id: str) -> None:
        """Forget what was promised: all is written, or nothing more will be."""
        with self._lock:
            self._promises.pop(module_id, None)

    def _measure(self) -> tuple[int, int]:
        """Return bytes free and bytes reserved. Blocks."""
        usage = shutil.disk_usage(self._root)
        return usage.free, disk_reserve_of(self._reserve, usage.total)


def allocated(path: Path) -> int:
    """Return what a tree takes on the disk; what vanishes or can't be read meanwhile counts for nothing. Blocks."""
    total = 0
    waiting = [os.fspath(path)]
    while waiting:
        with suppress(OSError):
            found = waiting.pop()
            status = os.lstat(found)
            total += status.st_blocks * 512
            if stat.S_ISDIR(status.st_mode):
                with os.scandir(found) as entries:
                    waiting.extend(entry.path for entry in entries)
    return total
