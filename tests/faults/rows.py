"""The rows of a hub's journal, whether it runs, has ended or was killed."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path

import msgspec

from hub.record import ModuleRecord


def rows(data: Path) -> dict[str, ModuleRecord]:
    """The journal's rows, read from a copy: to open the file would recover it, which is the next hub's to do."""
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        for path in data.glob("journal.sqlite3*"):
            shutil.copy(path, folder)
        path = Path(folder) / "journal.sqlite3"
        if not path.exists():
            return {}
        connection = sqlite3.connect(path)
        try:
            if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'modules'").fetchone():
                return {}
            found = connection.execute("SELECT record FROM modules").fetchall()
        finally:
            connection.close()
    records = [msgspec.json.decode(row[0], type=ModuleRecord) for row in found]
    return {record.module_id: record for record in records}
