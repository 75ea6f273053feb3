"""The gateway's decisions as pure functions: who has an open port, and what becomes of a connection."""

from __future__ import annotations

from collections.abc import Mapping

from hub.instance import Kind
from hub.lifecycle import Pending
from hub.record import ModuleRecord


def wanted_port(record: ModuleRecord, kinds: Mapping[str, Kind]) -> int | None:
    """Decide whether a module's port is to be open.

    Args:
        record: the module.
        kinds: the kinds by name.

    Returns:
        The port; `None` = nothing is to listen. A module whose obliteration has begun never comes up again.
    """
    kind = kinds.get(record.kind)
    if kind is None or not kind.gateway or record.pending is Pending.OBLITERATE:
        return None
    return record.gateway_port


def awaits_bytes(*, up: bool, wake: str) -> bool:
    """Decide whether a new connection waits for the client's first byte.

    Args:
        up: the module's server takes connections; who connects to it may be waiting for it to speak first.
        wake: its kind's `gateway_wake`.

    Returns:
        Whether it does: until then it counts for nothing, and wakes nothing.
    """
    return not up and wake == "bytes"
