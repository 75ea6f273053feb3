"""The tree that a command was asked about, or a clear word why there is none."""

from __future__ import annotations

from backends import Inspection, Snapshot, TreeEntry
from hub.cli.backend.names import shown
from hub.cli.backend.opening import not_there
from hub.errors import InvalidState, ModhubError


def snapshot_of(inspection: Inspection, *, previous: bool) -> Snapshot:
    """Read a module's tree.

    Args:
        inspection: the module.
        previous: the earlier one that is kept, instead of the committed one.

    Raises:
        ModuleNotFound: the backend has no such module.
        InvalidState: it has no such tree.
        BackendsError: it can't be read.
    """
    name = inspection.module_id
    snapshot = inspection.snapshot(previous=previous)
    if snapshot is not None:
        return snapshot
    head = inspection.read_head()
    if head is None:
        raise not_there(name)
    if head.tombstone:
        raise InvalidState(f"{name} is being erased", hint=f"complete it: modhub backend erase {name}")
    if previous and head.manifest is not None:
        raise InvalidState(f"the backend keeps no earlier tree of {name}", hint="leave --previous away")
    raise InvalidState(f"{head.owner} has taken {name}, and sent no data home yet")


def found_in(snapshot: Snapshot, path: bytes) -> TreeEntry:
    """Find a name in a tree.

    Raises:
        ModhubError: there is none.
    """
    entry = snapshot.find(path)
    if entry is None:
        raise ModhubError(f"no such file: {shown(path)}", hint="modhub backend ls MODULE --recursive lists all")
    return entry
