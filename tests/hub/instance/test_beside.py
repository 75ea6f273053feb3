"""Directories beside a module's data."""

import os
import pwd
from pathlib import Path

import pytest

from hub.instance import beside, checkpoint_dir
from hub.instance.account import Account


def test_a_directory_is_made_empty_whatever_was_there(tmp_path: Path) -> None:
    """A tree, a file or a link in its place is deleted; what a link points to is not touched."""
    place, kept = tmp_path / "place", tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (place / "deep").mkdir(parents=True)
    (place / "deep" / "link").symlink_to(kept)
    beside.make_empty(place, None)
    assert [*place.iterdir()] == []
    place.rmdir()
    place.symlink_to(kept)
    beside.make_empty(place, None)
    assert not place.is_symlink()
    assert place.stat().st_mode & 0o777 == 0o700
    assert (kept / "file").read_text() == "x"
    beside.remove(place)
    beside.remove(place)
    assert not place.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_it_is_the_accounts(tmp_path: Path) -> None:
    """Where the kind runs as another user, that user alone gets into the directory."""
    nobody = pwd.getpwnam("nobody")
    beside.make_empty(tmp_path / "place", Account("nobody", nobody.pw_uid, nobody.pw_gid))
    status = (tmp_path / "place").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (nobody.pw_uid, nobody.pw_gid, 0o700)


def test_a_file_is_found_at_any_depth(tmp_path: Path) -> None:
    """Folders, links, sockets and fifos are none; a file deeper than a path can say is one."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "link").symlink_to(tmp_path)
    os.mkfifo(place / "fifo")
    folder = os.open(place, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("level", dir_fd=folder)
        inner = os.open("level", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    assert not checkpoint_dir.holds_a_file(place)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    assert checkpoint_dir.holds_a_file(place)
    beside.remove(place)
