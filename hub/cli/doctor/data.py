"""Checks of a data directory: can a hub use it, does one, and what do its modules wait for?"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from hub.admission import disk_reserve_of
from hub.cli.doctor.finding import Finding, fail, note, ok, warn
from hub.cli.doctor.journal import read_journal
from hub.cli.doctor.local_data import check_local_data, module_directories
from hub.cli.terminal import size
from hub.errors import JournalError
from hub.instance.procfs import command_of
from hub.layout import Layout
from hub.lifecycle import Pending, State
from hub.lock import holder
from hub.mounts import file_system
from hub.policy import may_be_adopted
from hub.record import ModuleRecord
from hub.survivors import find_process

_LITTLE_SPACE = 1_000_000_000
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.s3fs"})
_NAMES_SHOWN = 8


def check_data_dir(root: Path, disk_reserve: int | None) -> Iterator[Finding]:
    """Yield what is found of a data directory.

    Args:
        root: the directory; it need not exist.
        disk_reserve: bytes that are to stay free; `None` = what suits the disk.
    """
    existing = root
    while not os.path.lexists(existing):
        existing = existing.parent
    yield _usable(root, existing)
    if existing.is_dir():
        yield _space(existing, disk_reserve)
        if (system := file_system(existing)) in _NETWORK:
            yield warn(
                "file system", f"{root} is on {system}", "put it on a local disk: the journal and its lock need one"
            )
    if existing != root or not root.is_dir():
        return
    layout = Layout(root)
    pid = holder(layout.lock_file)
    if pid is None:
        yield ok("lock", "no hub runs on it")
    else:
        command = command_of(pid)
        yield warn(
            "lock",
            f"a hub runs on it: process {pid}" + (f" ({command})" if command else ""),
            "a second hub on this data directory will refuse to start; end that one first",
        )
    found = module_directories(layout)
    try:
        records = read_journal(layout, live=pid is not None)
    except JournalError as error:
        yield fail("journal", error.message, error.hint)
        return
    if records is None:
        yield ok("journal", "none yet; the first hub makes it")
    else:
        yield from _modules(records, live=pid is not None)
    yield from check_local_data(layout, found, records or ())


def _usable(root: Path, existing: Path) -> Finding:
    advice = "name a directory on a local disk that this user may write"
    if not existing.is_dir():
        return fail("data_dir", f"{existing} is no directory", advice)
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return fail("data_dir", f"{existing} is not writable", advice)
    if existing != root:
        return ok("data_dir", f"{root} does not exist yet; it can be made")
    # The right to search alone shows nobody anything: the users of kinds get it.
    if root.stat().st_mode & 0o066 and any(root.iterdir()):
        return warn("data_dir", f"{root} is open to other users", f"chmod 700 {root}")
    return ok("data_dir", f"{root} can be used")


def _space(path: Path, configured: int | None) -> Finding:
    usage = shutil.disk_usage(path)
    reserve = disk_reserve_of(configured, usage.total)
    message = f"{size(usage.free)} free, of which {size(reserve)} are reserved"
    if usage.free < reserve:
        return warn("disk space", message, "below the reserve nothing is started: free some, or lower `disk_reserve`")
    if usage.free - reserve < _LITTLE_SPACE:
        return warn("disk space", message, "little is left for modules: free some, or give them a larger disk")
    return ok("disk space", message)


def _modules(records: Sequence[ModuleRecord], *, live: bool) -> Iterator[Finding]:
    records = [record for record in records if record.tracked]  # others are to be listed again, and hold nothing here
    counts = Counter(record.state for record in records)
    summary = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    yield ok(
        "journal",
        f"{len(records)} module{'' if len(records) == 1 else 's'} tracked" + (f": {summary}" if summary else ""),
    )
    if stranded := [r.module_id for r in records if r.state is State.UNPROVISIONED and r.dirty]:
        yield warn(
            "stranded data",
            f"{_names(stranded)}: not sent home after the last failure",
            "see the backend's check; a running hub retries by itself, `deprovision` does it at once",
        )
    if pending := [r.module_id for r in records if r.pending is Pending.OBLITERATE]:
        yield warn("obliterations", f"{_names(pending)}: begun, not complete", "a running hub completes them by itself")
    if crashed := [r.module_id for r in records if r.state is State.CRASHED and r.pending is not Pending.OBLITERATE]:
        yield warn("crashed", _names(crashed), "look at the modules' logs below the data directory, in logs/")
    if parked := [r.module_id for r in records if r.parked]:
        yield warn(
            "parked", f"{_names(parked)}: waits for a person", "a defect of modhub: see its log, then provision it"
        )
    if live:
        return
    if left := [r.module_id for r in records if may_be_adopted(r) and _runs(r)]:
        yield note(
            "left running", f"{_names(left)}: their processes run on without a hub", "the next start adopts them"
        )
    settled = {State.HIBERNATED, State.UNPROVISIONED, State.CRASHED}
    if killed := [r.module_id for r in records if r.state not in settled and r.module_id not in left]:
        yield note("interrupted", f"{_names(killed)}: the hub was killed", "the next start recovers them")


def _runs(record: ModuleRecord) -> bool:
    process = find_process(record)
    stat = process.find() if process is not None else None
    return stat is not None and stat.state != "Z"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
