"""What the demo looks at itself, without asking the hub: the backend, the disk, the processes, the threads."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path

from backends import BlobInfo, BlobStore, encode_module_id, module_prefix
from hub.cli.terminal import Symbols, size
from hub.instance import procfs


def objects(store: BlobStore, module_id: str) -> list[BlobInfo]:
    """Return what the backend holds of a module, by key."""
    return sorted(store.list(module_prefix(module_id)), key=lambda blob: blob.key)


def listing(blobs: list[BlobInfo], symbols: Symbols, at_most: int = 6) -> list[str]:
    """Write objects as lines: key, shortened, and size."""
    lines = [f"{_shortened(blob.key, symbols):<28}{size(blob.size):>9}" for blob in blobs[:at_most]]
    return [*lines, f"and {len(blobs) - at_most} more"] if len(blobs) > at_most else lines


def _shortened(key: str, symbols: Symbols) -> str:
    return key if len(key) <= 26 else key[:25] + symbols.ellipsis


def process_lives(pid: int) -> bool:
    """Tell whether a process, or any of its group, lives."""
    stat = procfs.read_stat(pid)
    return (stat is not None and stat.state != "Z") or bool(procfs.group_members(pid))


def own_threads() -> list[str]:
    """Return the names of the hub's threads in this process."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("modhub")]


def traces(folder: Path, module_id: str, value: bytes) -> list[Path]:
    """Return every path below a folder that is named after a module, or whose content holds a value of it."""
    name = encode_module_id(module_id)
    found: list[Path] = []
    for directory, folders, files in os.walk(folder):
        paths = [Path(directory, entry) for entry in (*folders, *files)]
        found += [path for path in paths if path.name.split(".")[0] == name or (path.is_file() and _holds(path, value))]
    return found


def _holds(path: Path, value: bytes) -> bool:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(value) >= 0
