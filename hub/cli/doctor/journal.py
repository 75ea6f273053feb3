"""A look into a hub's data directory from outside: who holds it, and what its journal knows. Nothing is changed by it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from hub.errors import JournalError
from hub.journal import SCHEMA_VERSION
from hub.layout import Layout
from hub.record import ModuleRecord


def holder(layout: Layout) -> int | None:
    """Return the process id of the hub that runs on a data directory; `None` = none does.

    The kernel's list of locks is read. To try the lock instead would for an instant keep a starting hub from it.
    """
    path = layout.root / "hub.lock"
    try:
        stat = path.stat()
        named = path.read_text().strip()
        locks = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    device = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}"
    for line in locks:
        # 5: FLOCK  ADVISORY  WRITE 648 fe:00:2147197 0 EOF
        fields = line.split()
        if fields[1] != "FLOCK" or fields[-3].rpartition(":")[2] != str(stat.st_ino):
            continue
        # Overlay and btrfs show another device here than stat does; there the process that the file names decides.
        if fields[-3].rpartition(":")[0] == device or fields[-4] == named:
            return int(fields[-4])
    return None


def read_journal(layout: Layout, *, live: bool) -> list[ModuleRecord] | None:
    """Read what a hub remembers.

    Args:
        layout: its data directory.
        live: whether it runs now.

    Returns:
        Every module, by id; `None` where there is no journal yet.

    Raises:
        JournalError: the journal can't be read, or another version of modhub wrote it.
    """
    if not layout.journal.exists():
        return None
    try:
        with _readable(layout.journal, live=live) as path, closing(_connect(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                raise JournalError(
                    f"the journal {layout.journal} has schema version {version}, this modhub knows {SCHEMA_VERSION}",
                    hint="use the modhub that wrote it, or a newer one",
                )
            rows = connection.execute("SELECT record FROM modules ORDER BY module_id").fetchall()
            return [msgspec.json.decode(row[0], type=ModuleRecord) for row in rows]
    except (sqlite3.Error, OSError, msgspec.MsgspecError) as error:
        raise JournalError(
            f"the journal {layout.journal} can't be read: {error}",
            hint="the modules' data is untouched; restore the journal from a copy",
        ) from error


@contextmanager
def _readable(journal: Path, *, live: bool) -> Generator[Path]:
    """Yield the journal itself while its hub runs, else a copy.

    A reader beside a hub changes nothing. A reader alone would make the write-ahead log's files, or fold the log of a
    killed hub into the database, which is for the next hub to do.
    """
    if live:
        yield journal
        return
    with tempfile.TemporaryDirectory(prefix="modhub-doctor-") as folder:
        for path in (journal, journal.with_name(journal.name + "-wal")):
            if path.exists():
                shutil.copyfile(path, Path(folder, path.name))
        yield Path(folder, journal.name)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
