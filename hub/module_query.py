"""Which modules a page shows, and in which order: pure functions over the entries of thousands of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from hub.directory import Directory, Entry, checkpointed_at
from hub.errors import InvalidMessage
from hub.info import ModulePage
from hub.lifecycle import State
from hub.messages import FindModules

MAX_LIMIT = 1000
_MAX_TEXT = 200

SortKey = Callable[[Entry], Any]

SORT_KEYS: Mapping[str, SortKey] = MappingProxyType(
    {
        "module_id": lambda entry: entry.record.module_id,
        "kind": lambda entry: entry.record.kind or None,
        "state": lambda entry: entry.record.state.value,
        "since": lambda entry: entry.record.since,
        "idle_s": lambda entry: -entry.active_at,  # one clock for all: it needs not be read ten thousand times
        "uptime_s": lambda entry: -entry.ready_at if entry.serving and entry.ready_at is not None else None,
        "restarts": lambda entry: entry.record.restarts,
        "memory_bytes": lambda entry: entry.usage.last.memory_bytes if entry.serving and entry.usage else None,
        "cpu_percent": lambda entry: entry.usage.last.cpu_percent if entry.serving and entry.usage else None,
        "port": lambda entry: entry.instance.port if entry.serving and entry.instance else entry.record.port,
        "checkpointed_at": lambda entry: checkpointed_at(entry) or None,
        "last_error": lambda entry: entry.record.last_error,
    }
)
"""What a page can be sorted by. A module that has no such value comes last, in either direction."""


def find_modules(directory: Directory, query: FindModules) -> ModulePage:
    """Return a page of the tracked modules.

    Args:
        directory: the modules.
        query: which ones, in which order.

    Returns:
        The page; only what it shows is described.

    Raises:
        InvalidMessage: the query can't be used; it names the field and what is allowed.
    """
    check(query)
    census = directory.census()
    ids = census.ids
    end = query.offset + query.limit
    if (
        query.states
        or query.kind
        or query.search
        or query.dirty is not None
        or query.sort.removeprefix("-") != "module_id"
    ):
        entries = _matching(directory, ids, query)
        total = len(entries)
        page: Iterable[Entry] = _sorted(entries, query.sort)[query.offset : end]
    else:
        total = len(ids)
        shown = ids[query.offset : end]
        if query.sort.startswith("-"):
            shown = ids[max(0, total - end) : max(0, total - query.offset)][::-1]
        page = (entry for module_id in shown if (entry := directory.find(module_id)) is not None)
    modules = tuple(directory.describe(entry) for entry in page)
    return ModulePage(modules, total, query.offset, query.limit, census.states)


def check(query: FindModules) -> None:
    """Refuse a query that can't be answered.

    Raises:
        InvalidMessage: as `find_modules`.
    """
    # Whoever sends it may be untyped.
    states: tuple[Any, ...] = query.states
    if type(states) is not tuple or not all(isinstance(state, State) for state in states):
        raise _refused("states", query.states, f"a tuple of states: {', '.join(State)}")
    for name in ("kind", "search"):
        text: Any = getattr(query, name)
        if not isinstance(text, str) or len(text) > _MAX_TEXT:
            raise _refused(name, text, f"text of {_MAX_TEXT} characters at the most")
    dirty: Any = query.dirty
    if dirty is not None and not isinstance(dirty, bool):
        raise _refused("dirty", dirty, "true, false or none")
    sort: Any = query.sort
    if not isinstance(sort, str) or sort.removeprefix("-") not in SORT_KEYS:
        raise _refused("sort", sort, f"{', '.join(SORT_KEYS)}; with - before it for the largest first")
    if not _is_count(query.offset) or query.offset < 0:
        raise _refused("offset", query.offset, "0 or more")
    if not _is_count(query.limit) or not 1 <= query.limit <= MAX_LIMIT:
        raise _refused("limit", query.limit, f"1 to {MAX_LIMIT}")


def _matching(directory: Directory, ids: Sequence[str], query: FindModules) -> list[Entry]:
    """Return the modules that match, in the order of their ids."""
    if query.search:
        search = query.search.lower()
        ids = [module_id for module_id in ids if search in module_id.lower()]
    entries = [entry for entry in map(directory.find, ids) if entry is not None]
    if query.states:
        states = frozenset(query.states)
        entries = [entry for entry in entries if entry.record.state in states]
    if query.kind:
        entries = [entry for entry in entries if entry.record.kind == query.kind]
    if query.dirty is not None:
        entries = [entry for entry in entries if entry.record.dirty is query.dirty]
    return entries


def _sorted(entries: list[Entry], sort: str) -> list[Entry]:
    """Return modules, given by id, in another order; those without a value last, ties as they were."""
    values = list(map(SORT_KEYS[sort.removeprefix("-")], entries))
    order = [index for index, value in enumerate(values) if value is not None]
    # Numbers and not pairs: ten thousand more objects for the garbage collector to look at would cost more than the sort.
    # Stable in both directions: `reverse` keeps equal ones in their order.
    order.sort(key=values.__getitem__, reverse=sort.startswith("-"))
    without = (index for index, value in enumerate(values) if value is None)
    return [entries[index] for index in (*order, *without)]


def _refused(name: str, value: object, allowed: str) -> InvalidMessage:
    return InvalidMessage(f"FindModules: {name} = {value!r:.100} can't be used", hint=f"allowed: {allowed}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
