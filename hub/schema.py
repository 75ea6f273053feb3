"""The journal's schema: every version as the step that leads to it from the one before.

A version is raised for whatever an older modhub could not read: a table, and also a field of `ModuleRecord`, whose rows
an older one refuses one by one and not as a whole. What a step adds to records has a default there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from hub.errors import JournalError

Step = Sequence[str | Callable[[sqlite3.Connection], object]]

STEPS: tuple[Step, ...] = (
    # 1
    (
        "CREATE TABLE hub (hub_id TEXT NOT NULL) STRICT",
        """CREATE TABLE modules
           (module_id TEXT PRIMARY KEY, state TEXT NOT NULL, record BLOB NOT NULL) STRICT, WITHOUT ROWID""",
        "INSERT INTO hub VALUES (lower(hex(randomblob(8))))",
    ),
    # 2: nothing but fields of records
    (),
    # 3: as 2
    (),
)
"""What leads to version 1, 2, ...: statements, or functions of the connection, all within one transaction."""

SCHEMA_VERSION = len(STEPS)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a journal; 0 = an empty one.

    Raises:
        JournalError: a newer modhub wrote it.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"its schema is version {version}, this modhub knows {SCHEMA_VERSION}",
            hint="a newer modhub wrote it: use that one",
        )
    return int(version)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a journal to the version that this modhub writes: whole, or not at all.

    Args:
        connection: to the file, in autocommit mode.
        path: the file, of which a copy is kept beside it before anything is changed.

    Raises:
        JournalError: a newer modhub wrote it; it is as it was.
        sqlite3.Error: it can't be read or written; it is as it was.
        OSError: there is no room for the copy.
    """
    version = version_of(connection)
    if version == SCHEMA_VERSION:
        return
    if version:
        _keep(connection, backup_of(path, version))
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in STEPS[version:]:
            for statement in step:
                if callable(statement):
                    statement(connection)
                else:
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def backup_of(path: Path, version: int) -> Path:
    """Return where the copy of a journal of an older version is kept."""
    return path.with_name(f"{path.name}.v{version}.bak")


def backups(path: Path) -> list[Path]:
    """Return the copies that are kept of a journal's older versions."""
    return [found for version in range(1, SCHEMA_VERSION) if (found := backup_of(path, version)).exists()]


def _keep(connection: sqlite3.Connection, copy: Path) -> None:
    unfinished = copy.with_name(copy.name + ".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    # By SQLite itself: a part of the journal may be in its write-ahead log.
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as target:
        connection.backup(target)
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    unfinished.replace(copy)
    directory = os.open(copy.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
