"""A file that appears whole, with mode and time, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
from collections.abc import Generator, Iterable
from pathlib import Path

from backends import Piece, TransferCancelled, TreeEntry
from hub.cli.backend.names import shown
from hub.errors import InvalidState, LocalDataError, ModhubError


def check_destination(target: Path, *, force: bool) -> None:
    """Refuse what must not be written over, before anything is fetched for it.

    Args:
        target: where the file shall be.
        force: a regular file, or a link, may be replaced.

    Raises:
        ModhubError: there is something.
    """
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed(target, error) from error
    name = shown(os.fsencode(target))
    if stat.S_ISDIR(mode):
        raise InvalidState(f"{name} is a directory", hint="give the file's name, too")
    # Not even by force: to replace /dev/null by a file is never what was meant.
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise InvalidState(f"{name} is no regular file", hint="to write into it: -o - > FILE")
    if not force:
        raise InvalidState(f"{name} exists already", hint="choose another name, or replace it with --force")


def restore(
    pieces: Iterable[Piece], entry: TreeEntry, target: Path, *, force: bool, cancelled: threading.Event
) -> None:
    """Write a file beside its place, and put it there when it is complete and on the disk.

    Args:
        pieces: its content; what they raise ends it.
        entry: for mode and time.
        target: where it shall be.
        force: replace what is there.
        cancelled: the caller's token.

    Raises:
        ModhubError: the local side failed, or something is at `target`. In every case nothing is left behind.
        TransferCancelled: the token was set.
    """
    temporary = target.with_name(f".modhub-{secrets.token_hex(8)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _failed(target, error) from error
    try:
        try:
            _fill(fd, pieces, cancelled, target)
            with _local(target):
                os.fchmod(fd, entry.mode)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
                os.fsync(fd)
        finally:
            os.close(fd)
        check_destination(target, force=force)
        with _local(target):
            _place(temporary, target, force=force)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _fill(fd: int, pieces: Iterable[Piece], cancelled: threading.Event, target: Path) -> None:
    offset = 0
    for piece in pieces:
        if cancelled.is_set():
            raise TransferCancelled("the transfer was cancelled")
        rest = memoryview(piece.data or b"")
        with _local(target):
            while rest:
                done = os.pwrite(fd, rest, offset + piece.length - len(rest))
                rest = rest[done:]
        offset += piece.length
    with _local(target):
        os.ftruncate(fd, offset)  # a hole at the end


def _place(temporary: Path, target: Path, *, force: bool) -> None:
    if not force:
        try:
            # Unlike a rename, a link replaces nothing, also if somebody has just made what is there.
            os.link(temporary, target)
            return
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links: the look of a moment ago has to do.
            check_destination(target, force=False)
    temporary.replace(target)


@contextlib.contextmanager
def _local(target: Path) -> Generator[None]:
    """Tell the local disk's errors from the backend's."""
    try:
        yield
    except OSError as error:
        raise _failed(target, error) from error


def _failed(target: Path, error: OSError) -> ModhubError:
    return LocalDataError(f"writing {shown(os.fsencode(target))}: {error.strerror}")
