"""A look into a hub's journal from outside. Nothing is changed by it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from hub.errors import JournalError
from hub.layout import Layout
from hub.record import ModuleRecord
from hub.schema import version_of


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
            try:
                version_of(connection)
            except JournalError as error:
                raise JournalError(
                    f"the journal {layout.journal} can't be read: {error.message}", hint=error.hint
                ) from None
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
