"""The journal: durable when told so, all or nothing, and never half read."""

import asyncio
import shutil
import sqlite3
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.errors import JournalError
from hub.journal import Journal
from hub.lifecycle import State
from hub.record import ModuleRecord
from hub.schema import SCHEMA_VERSION
from tests.hub.test_resolution import RECORDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@contextmanager
def opened(path: Path) -> Generator[Journal]:
    journal = Journal(path)
    journal.open()
    with closing(journal):
        yield journal


def write(path: Path, *records: ModuleRecord) -> None:
    with opened(path) as journal:
        asyncio.run(journal.write(*records))


def load(path: Path) -> list[ModuleRecord]:
    journal = Journal(path)
    records = journal.open()
    journal.close()
    return records


def execute(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """What another program does to the file, or sees in it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [row for statement in statements for row in connection.execute(statement).fetchall()]


def hibernated(module_id: str, port: int | None = None) -> ModuleRecord:
    return ModuleRecord(module_id, kind="store", state=State.HIBERNATED, dirty=True, port=port)


def test_a_new_journal_is_empty_and_private(path: Path) -> None:
    """The file is made where there is none, readable by its user alone, and has no modules."""
    assert load(path) == []
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_hub_keeps_its_id(path: Path) -> None:
    """The id that marks its processes and its backend heads is made once; another hub has another."""
    with opened(path) as first, opened(path.with_name("other")) as other:
        hub_id, other_id = first.hub_id, other.hub_id
    with opened(path) as again:
        assert again.hub_id == hub_id
    assert len(hub_id) == 16
    assert hub_id != other_id


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(RECORDS, max_size=8, unique_by=lambda record: record.module_id))
def test_records_survive_the_end_of_the_hub(records: list[ModuleRecord], tmp_path: Path) -> None:
    """What was written comes back equal, in the order of the ids; untracked modules are not remembered."""
    path = tmp_path / f"{id(records)}.sqlite3"
    path.unlink(missing_ok=True)
    write(path, *records)
    assert load(path) == sorted((r for r in records if r.remembered), key=lambda r: r.module_id)


def test_the_last_record_of_a_module_wins(path: Path) -> None:
    """A module has one row, which each write replaces."""
    write(path, hibernated("m", port=7000), hibernated("m", port=7001))
    write(path, hibernated("m", port=7002))
    assert load(path) == [hibernated("m", port=7002)]


def test_an_untracked_record_removes_the_row(path: Path) -> None:
    """A deprovisioned module leaves nothing; removing one that is not there is harmless."""
    write(path, hibernated("gone"), hibernated("stays"))
    write(path, ModuleRecord("gone"), ModuleRecord("never-was"))
    assert load(path) == [hibernated("stays")]


def test_a_module_that_is_to_be_listed_again_keeps_its_row(path: Path) -> None:
    """Untracked as it is, since the next hub has to know; when that is done it leaves nothing."""
    write(path, hibernated("m"))
    write(path, ModuleRecord("m", relist_s=60.0))
    assert load(path) == [ModuleRecord("m", relist_s=60.0)]
    write(path, ModuleRecord("m"))
    assert load(path) == []


def test_a_removed_module_leaves_no_bytes(path: Path) -> None:
    """After the end of the hub, no free page of the file still names an obliterated module."""
    write(path, *(hibernated(f"secret-tenant-{number}") for number in range(50)), hibernated("stays"))
    write(path, *(ModuleRecord(f"secret-tenant-{number}") for number in range(50)))
    left = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"stays" in left
    assert b"secret-tenant" not in left


def named_in(path: Path, name: str) -> list[str]:
    """The files of a journal in which a name stands."""
    return sorted(file.name for file in path.parent.iterdir() if name.encode() in file.read_bytes())


def test_an_erased_module_leaves_no_bytes_while_the_hub_runs(path: Path) -> None:
    """When an erasing write returns, neither the database nor its log names what it removed; disk space stays reserved."""

    async def scenario(journal: Journal) -> None:
        await journal.write(*(hibernated(f"m{number}") for number in range(500)))
        for number in range(200):
            await journal.write(hibernated(f"tenant-{number}"))
        reserved = log.stat().st_size
        assert "journal.sqlite3-wal" in named_in(path, "tenant-7")
        await asyncio.gather(*(journal.write(ModuleRecord(f"tenant-{number}"), erase=True) for number in range(200)))
        assert named_in(path, "tenant-") == []
        assert log.stat().st_size == reserved

    log = path.with_name(path.name + "-wal")
    with opened(path) as journal:
        asyncio.run(scenario(journal))
    assert len(load(path)) == 500


def test_who_reads_the_journal_delays_an_erasure_of_the_log_alone(path: Path) -> None:
    """The write does not wait for the reader; the first one after that has ended empties the log."""

    async def scenario(journal: Journal) -> None:
        await journal.write(hibernated("tenant"))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN").execute("SELECT * FROM modules").fetchall()
            started = time.monotonic()
            await journal.write(ModuleRecord("tenant"), erase=True)
            await journal.write(hibernated("other"))
            assert time.monotonic() - started < 4
            assert named_in(path, "tenant")
        await journal.write(hibernated("another"))
        assert named_in(path, "tenant") == []

    with opened(path) as journal:
        asyncio.run(scenario(journal))
    assert load(path) == [hibernated("another"), hibernated("other")]


def test_a_killed_hub_s_log_names_nobody_after_the_next_start(path: Path, tmp_path: Path) -> None:
    """Killed between a removal and the emptying of the log, a hub leaves the name there; the next one takes it away."""

    async def scenario(journal: Journal) -> None:
        await journal.write(hibernated("tenant"))
        await journal.write(ModuleRecord("tenant"))
        for file in list(path.parent.glob("journal*")):
            shutil.copy(file, killed.with_name(file.name))

    killed = tmp_path / "killed" / path.name
    killed.parent.mkdir()
    with opened(path) as journal:
        asyncio.run(scenario(journal))
    assert named_in(killed, "tenant")
    with opened(killed):
        assert named_in(killed, "tenant") == []


def test_a_write_is_durable_when_it_returns(path: Path) -> None:
    """Another connection sees the row right after `write`, while the hub still runs."""

    async def scenario(journal: Journal) -> list[tuple[object, ...]]:
        await journal.write(hibernated("m"))
        return execute(path, "SELECT module_id, state FROM modules")

    with opened(path) as journal:
        assert asyncio.run(scenario(journal)) == [("m", "hibernated")]


def test_every_commit_waits_for_the_disk(path: Path) -> None:
    """The journal's own connection syncs fully and keeps a write-ahead log: an outcome that was told survives."""
    connection = Journal(path)._connect()  # pyright: ignore[reportPrivateUsage] # the setting belongs to the connection
    with closing(connection):
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


REFUSE_BAD = (
    "CREATE TRIGGER refuse BEFORE INSERT ON modules WHEN NEW.module_id = 'bad' "
    "BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
)


def test_a_batch_is_stored_whole_or_not_at_all(path: Path) -> None:
    """Where one record of a write can't be stored, none of it is, removals included."""
    write(path, hibernated("old"))
    execute(path, REFUSE_BAD)
    with opened(path) as journal, pytest.raises(JournalError):
        asyncio.run(journal.write(hibernated("good"), ModuleRecord("old"), hibernated("bad")))
    assert load(path) == [hibernated("old")]


def test_a_disk_that_refuses_is_a_typed_error_and_the_journal_goes_on(path: Path) -> None:
    """The writer gets `JournalError` with the file and the cause; once the disk takes writes again, so does the hub."""

    async def scenario(journal: Journal) -> None:
        with pytest.raises(JournalError, match=r"journal\.sqlite3 can't be written: disk I/O error") as refused:
            await journal.write(hibernated("bad"))
        assert isinstance(refused.value.__cause__, sqlite3.Error)
        await journal.write(hibernated("good"))
        execute(path, "DROP TRIGGER refuse")
        await journal.write(hibernated("bad"))

    write(path)
    execute(path, REFUSE_BAD)
    with opened(path) as journal:
        asyncio.run(scenario(journal))
    assert load(path) == [hibernated("bad"), hibernated("good")]


def test_many_writers_at_once_are_all_answered(path: Path) -> None:
    """Writes of two loops in two threads, hundreds at a time, are each durable when they return."""

    async def scenario(journal: Journal, name: str) -> None:
        await asyncio.gather(*(journal.write(hibernated(f"{name}-{number}")) for number in range(200)))

    with opened(path) as journal:
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(asyncio.run, scenario(journal, name)) for name in ("a", "b")]:
                done.result()
        (count,) = execute(path, "SELECT count(*) FROM modules")
    assert count == (400,)


def test_writes_of_one_caller_keep_their_order(path: Path) -> None:
    """Of writes to one module that were queued one after another, the last one stands."""

    async def scenario(journal: Journal) -> None:
        await asyncio.gather(*(journal.write(hibernated("m", port=7000 + number)) for number in range(100)))

    with opened(path) as journal:
        asyncio.run(scenario(journal))
    assert load(path) == [hibernated("m", port=7099)]


def test_a_cancelled_writer_does_not_take_its_write_back(path: Path) -> None:
    """Cancelling the caller ends its wait; the record is stored, and the next writer is answered."""

    async def scenario(journal: Journal) -> None:
        writer = asyncio.ensure_future(journal.write(hibernated("cancelled")))
        await asyncio.sleep(0)  # one turn: it is queued
        writer.cancel()
        await journal.write(hibernated("next"))
        assert writer.cancelled()

    with opened(path) as journal:
        asyncio.run(scenario(journal))
    assert [record.module_id for record in load(path)] == ["cancelled", "next"]


def test_a_writer_whose_loop_is_gone_harms_nobody(path: Path) -> None:
    """The answer to a closed loop is dropped; the write stands and others go on."""

    async def scenario(journal: Journal) -> None:
        task = asyncio.ensure_future(journal.write(hibernated("left")))
        await asyncio.sleep(0)  # one turn: it is queued; the loop then ends and cancels it
        del task

    with opened(path) as journal:
        asyncio.run(scenario(journal))
        asyncio.run(journal.write(hibernated("later")))
    assert [record.module_id for record in load(path)] == ["later", "left"]


def test_closing_finishes_what_is_queued_and_joins_the_thread(path: Path) -> None:
    """After `close` everything queued before is stored and no thread of the journal lives."""
    journal = Journal(path)
    journal.open()
    assert [t for t in threading.enumerate() if t.name == "modhub-journal"]

    async def scenario() -> None:
        writes = [asyncio.ensure_future(journal.write(hibernated(f"m{number}"))) for number in range(20)]
        await asyncio.sleep(0)  # one turn: all are queued
        await asyncio.to_thread(journal.close)
        await asyncio.gather(*writes)

    asyncio.run(scenario())
    assert not [t for t in threading.enumerate() if t.name == "modhub-journal"]
    assert len(load(path)) == 20


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    yield
    assert not [t for t in threading.enumerate() if t.name == "modhub-journal"]


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
@pytest.mark.usefixtures("no_thread_left")
def test_a_journal_of_another_version_is_refused(version: int, path: Path) -> None:
    """The error names both versions, and the file is left as it was."""
    write(path, hibernated("m"))
    execute(path, f"PRAGMA user_version = {version}")
    with pytest.raises(JournalError, match=rf"version {version}, this modhub knows {SCHEMA_VERSION}"):
        load(path)
    assert execute(path, "SELECT module_id FROM modules", "PRAGMA user_version") == [("m",), (version,)]


def not_a_database(path: Path) -> None:
    path.write_bytes(b"this is not a database, it is a shopping list" * 100)


def torn_page(path: Path) -> None:
    write(path, *(hibernated(f"m{number}") for number in range(200)))
    execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def no_hub_row(path: Path) -> None:
    write(path)
    execute(path, "DELETE FROM hub")


def no_table(path: Path) -> None:
    write(path)
    execute(path, "DROP TABLE modules")


def damaged_record(path: Path) -> None:
    write(path, hibernated("m"))
    execute(path, "UPDATE modules SET record = CAST('{\"module_id\": ' AS BLOB)")


def record_that_is_no_text(path: Path) -> None:
    write(path, hibernated("m"))
    execute(path, "UPDATE modules SET record = x'7b226d6f64756c655f6964223a22ff227d'")


def unknown_field(path: Path) -> None:
    write(path, hibernated("m"))
    execute(path, 'UPDATE modules SET record = CAST(\'{"module_id": "m", "shoe_size": 43}\' AS BLOB)')


def a_folder(path: Path) -> None:
    path.mkdir()


def no_parent(path: Path) -> None:
    path.parent.rmdir()


@pytest.mark.parametrize(
    "damage",
    [
        *(not_a_database, torn_page, no_hub_row, no_table, damaged_record, record_that_is_no_text, unknown_field),
        *(a_folder, no_parent),
    ],
)
@pytest.mark.usefixtures("no_thread_left")
def test_a_journal_that_cannot_be_read_is_a_typed_error(damage: object, path: Path) -> None:
    """Whatever is wrong with the file, opening it ends with `JournalError`, its path and what to do; never hangs."""
    assert callable(damage)
    damage(path)
    with pytest.raises(JournalError, match=r"journal\.sqlite3 can't be opened") as refused:
        load(path)
    assert "modules' data is untouched" in refused.value.hint


def test_a_hub_that_died_while_it_made_its_journal_starts_again(path: Path) -> None:
    """What a kill -9 leaves before the first commit, an empty or a WAL-only file, is made anew."""
    path.touch()
    assert load(path) == []
    execute(path.with_name("other"), "PRAGMA journal_mode = WAL")
    assert load(path.with_name("other")) == []


def test_the_schema_appears_with_its_hub_id_or_not_at_all(path: Path) -> None:
    """Tables, version and the hub's id are one transaction: no kill -9 leaves a journal without an id."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        ids: list[list[object]] = []

        class Observed(sqlite3.Connection):
            """Between any two statements, looks at the file as a start after kill -9 would find it."""

            def __init__(self, database: Path, isolation_level: None) -> None:
                super().__init__(database, isolation_level=isolation_level)
                self.set_trace_callback(self.look)

            def look(self, _statement: str) -> None:
                if other.execute("PRAGMA user_version").fetchone() != (0,):
                    ids.append(other.execute("SELECT hub_id FROM hub").fetchall())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", Observed)
            Journal(path)._connect().close()  # pyright: ignore[reportPrivateUsage] # on this thread, to be observed
    assert ids
    assert all(len(found) == 1 for found in ids)
