"""What lies in a data directory: data that the backend does not have yet, and what no journal row knows."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from backends import encode_module_id
from hub.cli.doctor.finding import Finding, Item, note, ok, warn
from hub.cli.terminal import size
from hub.disk import allocated
from hub.layout import Layout
from hub.record import ModuleRecord


def check_local_data(layout: Layout, found: Sequence[Path], records: Sequence[ModuleRecord]) -> Iterator[Finding]:
    """Yield what is found of local data.

    Args:
        layout: the data directory.
        found: the modules' directories, listed before the journal was read.
        records: what the journal knows.
    """
    if dirty := [record for record in records if record.dirty]:
        yield _dirty(layout, dirty)
    known = {encode_module_id(record.module_id) for record in records}
    # What a running hub has taken away since it was listed is gone for good reason.
    if strangers := [path for path in found if path.name not in known and os.path.lexists(path)]:
        items = tuple(Item(path.name, str(path), allocated(path)) for path in strangers)
        yield warn(
            "unknown data",
            f"{_total(items)} in {_count(items, 'directory', 'directories')} that the journal knows nothing of",
            "was the journal lost or replaced? restore it, or move them away; the hub touches none of them",
            items,
        )
    left = [*_entries(layout.trash), *(path for path in _entries(layout.scratch) if _entries(path))]
    if left:
        items = tuple(Item(path.name, str(path), allocated(path)) for path in left)
        message = f"{_total(items)} in {_count(items, 'leftover', 'leftovers')} of deletions and transfers"
        yield note("trash", message, "the next start of the hub deletes them", items)
    else:
        yield ok("trash", "empty")


def module_directories(layout: Layout) -> list[Path]:
    """Return the directories that hold modules' data."""
    return _entries(layout.root / "modules")


def _dirty(layout: Layout, records: Sequence[ModuleRecord]) -> Finding:
    items: list[Item] = []
    for record in records:
        directory = layout.data(record.module_id)
        since = dt.datetime.fromtimestamp(record.since, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        items.append(
            Item(
                record.module_id,
                str(directory),
                allocated(directory),
                state=record.state.value,
                kind=record.kind,
                since=since,
                base=record.base,
                pending=record.pending.value if record.pending is not None else None,
            )
        )
    items.sort(key=lambda item: -item.bytes)
    message = f"{_total(items)} of {_count(items, 'module', 'modules')} that the backend does not have yet"
    return note("dirty data", message, "`deprovision` sends it home; it is never deleted before", tuple(items))


def _total(items: Sequence[Item]) -> str:
    return size(sum(item.bytes for item in items))


def _count(items: Sequence[Item], one: str, many: str) -> str:
    return f"{len(items)} {one if len(items) == 1 else many}"


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError:
        return []
