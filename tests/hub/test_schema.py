"""The journal's schema: older versions come along whole or not at all, newer ones are left alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hub.errors import JournalError
from hub.journal import Journal
from hub.lifecycle import Pending, State
from hub.record import ModuleRecord
from hub.schema import SCHEMA_VERSION, STEPS, backup_of, backups

V1 = Path(__file__).with_name("journals") / "v1.sql"
V1_HUB = "d4f2136b6bed2858"
V1_RECORDS = [
    ModuleRecord(
        "asleep", "store", State.HIBERNATED, dirty=True, base="0123456789abcdef/3", port=7001, since=1.7e9 + 0.5
    ),
    ModuleRecord("doomed", "store", State.CRASHED, pending=Pending.OBLITERATE, last_error="denied", since=1700000003.0),
    ModuleRecord(
        "parked",
        "postgres",
        State.CRASHED,
        dirty=True,
        base="0123456789abcdef/2",
        last_error="its actor failed too often",
        since=1700000004.0,
        parked=True,
    ),
    ModuleRecord(
        "stranded",
        "store",
        dirty=True,
        base="0123456789abcdef/7",
        pending=Pending.DEPROVISION,
        suspect=True,
        last_error="the backend is down",
        since=1700000002.0,
    ),
    ModuleRecord(
        "up",
        "redis",
        State.PROVISIONED,
        dirty=True,
        base="0123456789abcdef/1",
        port=7002,
        pid=4711,
        started_ticks=123456,
        restarts=2,
        since=1700000001.0,
    ),
]

# Whoever adds a field to the records adds it to the newest version here, or a version where that was released.
_FIELDS_2 = (
    *("module_id", "kind", "state", "dirty", "base", "pending", "suspect", "op_id", "port", "pid"),
    *("started_ticks", "boot_id", "restarts", "last_error", "since", "checkpointed_at", "parked", "relist_s"),
)
FIELDS = {2: _FIELDS_2, 3: (*_FIELDS_2, "gateway_port")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of version 1, as the modhub of that time left it."""
    path = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(V1.read_text())
    return path


def load(path: Path) -> tuple[str, list[ModuleRecord]]:
    journal = Journal(path)
    records = journal.open()
    journal.close()
    return journal.hub_id, records


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def write(path: Path, *records: ModuleRecord) -> None:
    journal = Journal(path)
    journal.open()
    with closing(journal):
        asyncio.run(journal.write(*records))


def test_the_fields_of_records_belong_to_a_version() -> None:
    """An older modhub refuses a row with a field that it does not know: a new field is a new version of the schema."""
    assert FIELDS[SCHEMA_VERSION] == ModuleRecord.__struct_fields__


def test_what_records_gain_has_a_default() -> None:
    """Rows of every older version can be read: only the module's id was there from the beginning."""
    assert ModuleRecord.__struct_config__.omit_defaults
    assert len(ModuleRecord.__struct_defaults__) == len(ModuleRecord.__struct_fields__) - 1


def test_a_journal_of_version_1_comes_along(path: Path) -> None:
    """Hub id and every record are as they were; the file has the new version, and a copy of the old one is beside it."""
    assert version(path) == 1
    assert load(path) == (V1_HUB, V1_RECORDS)
    assert version(path) == SCHEMA_VERSION
    copy = backup_of(path, 1)
    assert version(copy) == 1
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.replace(path)
    assert load(path) == (V1_HUB, V1_RECORDS)


def test_what_stands_in_the_log_comes_along(path: Path) -> None:
    """A hub of version 1 that was killed left its last writes in the write-ahead log; neither file nor copy lacks them."""
    with closing(sqlite3.connect(path, isolation_level=None)) as killed:
        killed.execute("PRAGMA journal_mode = WAL")
        killed.execute("DELETE FROM modules WHERE module_id <> 'up'")
        for name in ("journal.sqlite3", "journal.sqlite3-wal"):
            folder = path.parent / "after"
            folder.mkdir(exist_ok=True)
            shutil.copy(path.parent / name, folder)
    moved = path.parent / "after" / "journal.sqlite3"
    assert [record.module_id for record in load(moved)[1]] == ["up"]
    backup_of(moved, 1).replace(moved)
    assert [record.module_id for record in load(moved)[1]] == ["up"]


def test_the_copy_goes_before_a_module_does(path: Path) -> None:
    """An obliterated module is in no copy; until one goes the copy stays, over starts as well."""
    write(path, ModuleRecord("asleep", "store", State.HIBERNATED, port=7009))
    load(path)
    assert backups(path) == [backup_of(path, 1)]
    write(path, ModuleRecord("doomed"))
    assert backups(path) == []
    assert not any(b"doomed" in file.read_bytes() for file in path.parent.iterdir())


def test_a_newer_journal_is_left_alone(path: Path) -> None:
    """The error names both versions and says what to use; not a byte of the file changes, and no file appears."""
    load(path)  # leaves the disk space that the next start may need
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        connection.execute("PRAGMA journal_mode = DELETE")
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(
        JournalError, match=rf"version {SCHEMA_VERSION + 1}, this modhub knows {SCHEMA_VERSION}"
    ) as error:
        load(path)
    assert "newer modhub" in error.value.hint
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


KILLED = """
import os, signal, sys
from pathlib import Path
from hub import schema
from hub.journal import Journal

def die(connection):
    connection.execute("DELETE FROM modules")
    connection.execute("PRAGMA user_version = 1000")
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "copying":
    os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
else:
    schema.STEPS = (*schema.STEPS[:-1], (*schema.STEPS[-1], "UPDATE modules SET state = 'half'", die))
Journal(Path(sys.argv[1])).open()
"""


@pytest.mark.parametrize("when", ["copying", "migrating"])
def test_a_hub_that_is_killed_while_it_migrates_loses_nothing(path: Path, when: str) -> None:
    """After kill -9 in the midst the next start finds the old version whole, and brings it along."""
    done = subprocess.run([sys.executable, "-c", KILLED, path, when], check=False)
    assert done.returncode == -signal.SIGKILL
    assert version(path) == 1
    assert load(path) == (V1_HUB, V1_RECORDS)
    assert version(path) == SCHEMA_VERSION
    assert version(backup_of(path, 1)) == 1


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that can't be done is a typed error, and the old version is whole."""
    steps = (*STEPS[:-1], ("DELETE FROM modules", "INSERT INTO nowhere VALUES (1)"))
    with monkeypatch.context() as patched:
        patched.setattr("hub.schema.STEPS", steps)
        with pytest.raises(JournalError, match="nowhere"):
            load(path)
    assert version(path) == 1
    assert load(path) == (V1_HUB, V1_RECORDS)


def test_without_room_for_the_copy_nothing_is_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses the copy refuses the migration; what there is of the copy does not count as one."""

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr("hub.schema.os.fsync", full)
        with pytest.raises(JournalError, match="No space left"):
            load(path)
    assert version(path) == 1
    assert backups(path) == []
    assert load(path) == (V1_HUB, V1_RECORDS)


def test_nothing_is_forgotten_while_the_copy_can_not_be_deleted(path: Path) -> None:
    """It would bring back what is obliterated. A write that failed has not happened, so the row is there after it."""
    load(path)
    backup_of(path, 1).unlink()
    backup_of(path, 1).mkdir()
    journal = Journal(path)
    _, first, *_ = journal.open()
    try:
        with pytest.raises(JournalError):
            asyncio.run(journal.write(ModuleRecord(first.module_id)))
    finally:
        journal.close()
    assert load(path) == (V1_HUB, V1_RECORDS)
