"""Running as another user: whom, and with what data and directories opened to them."""

import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hub.errors import StartFailed
from hub.instance.account import Account, account_of, closed_above, give, let_through, read_acl, with_search

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

ALL = 0xFFFFFFFF
OWNER, USER, GROUP, MASK, OTHER = 1, 2, 4, 16, 32
CLOSED = [(OWNER, 7, ALL), (GROUP, 0, ALL), (OTHER, 0, ALL)]


def nobody() -> Account:
    found = pwd.getpwnam("nobody")
    return Account("nobody", found.pw_uid, found.pw_gid)


def as_nobody(*command: str | Path) -> bool:
    """Whether a command succeeds as that user."""
    user = ["setpriv", "--reuid", "nobody", "--regid", str(nobody().gid), "--clear-groups", "--"]
    return subprocess.run([*user, *command], check=False, capture_output=True, timeout=30).returncode == 0


def test_a_kind_without_a_user_runs_as_the_hub() -> None:
    """No user is looked up."""
    assert account_of(None) is None


def test_a_hub_that_is_not_root_runs_all_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not do otherwise; a kind that asks for a user works all the same, also where there is no such user."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert account_of("nobody") is None
    assert account_of("no-such-user") is None


def test_roots_own_name_is_no_other_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A root that is told to run as root changes nothing."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert account_of("root") is None
    assert account_of("nobody") == nobody()


def test_a_user_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to make it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(StartFailed, match="no user 'no-such-user'") as failed:
        account_of("no-such-user")
    assert "adduser --system --group no-such-user" in failed.value.hint


@as_root
def test_a_tree_is_given_whole(tmp_path: Path) -> None:
    """Files, directories and links in it are the user's; what a link points at stays whose it was."""
    outside = tmp_path / "outside"
    outside.write_text("root's")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_text("x")
    (tree / "a" / "link").symlink_to(outside)
    (tree / "folder").symlink_to(tmp_path)
    assert give(tree, nobody())
    owners = {path.lstat().st_uid for path in (tree, *tree.rglob("*"))}
    assert owners == {nobody().uid}
    assert outside.stat().st_uid == tmp_path.stat().st_uid == 0


@as_root
def test_a_tree_that_has_been_the_users_is_not_walked_again(tmp_path: Path) -> None:
    """Once a tenant could write there, a hard link to another's file may lie in it: it must not be given away."""
    secret = tmp_path / "secret"
    secret.write_text("root's")
    tree = tmp_path / "tree"
    tree.mkdir()
    assert give(tree, nobody())
    os.link(secret, tree / "planted")
    assert not give(tree, nobody())
    assert secret.stat().st_uid == 0


@as_root
def test_only_what_the_former_owner_had_is_given(tmp_path: Path) -> None:
    """A tree that changes from one user to another takes along nothing that was neither's."""
    secret = tmp_path / "secret"
    secret.write_text("root's")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "own").write_text("x")
    first = Account("first", 12345, 12345)
    give(tree, first)
    os.link(secret, tree / "planted")
    assert give(tree, nobody())
    assert (tree / "own").stat().st_uid == nobody().uid
    assert secret.stat().st_uid == 0


@as_root
def test_the_root_of_a_tree_is_given_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that was interrupted is done again from the beginning."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in "abc":
        (tree / name).write_text("x")
    real = os.chown

    def failing(name: bytes, *args: int, **options: Any) -> None:
        if name == b"b":
            raise OSError(5, "broken disk")
        real(name, *args, **options)

    with monkeypatch.context() as broken:
        broken.setattr(os, "chown", failing)
        with pytest.raises(OSError, match="broken disk"):
            give(tree, nobody())
    assert tree.stat().st_uid == 0
    assert give(tree, nobody())
    assert {path.stat().st_uid for path in (tree, *tree.iterdir())} == {nobody().uid}


@as_root
def test_one_user_gets_through_and_nobody_else(open_path: Path) -> None:
    """It may pass, which is all: it lists nothing, and for all others the directory is as closed as before."""
    closed = open_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True, mode=0o700)
    closed.chmod(0o700)
    (inner / "file").write_text("x")
    (inner / "file").chmod(0o644)
    let_through([closed, inner], nobody())
    assert as_nobody("cat", inner / "file")
    assert not as_nobody("ls", inner)
    assert not as_nobody("touch", inner / "new")
    stranger = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "--", "cat", str(inner / "file")]
    assert subprocess.run(stranger, check=False, capture_output=True, timeout=30).returncode != 0
    assert stat.S_IMODE(closed.stat().st_mode) & 0o066 == 0


@as_root
def test_letting_through_again_changes_nothing(open_path: Path) -> None:
    """Each start of an instance asks for it; a second user is added to the first."""
    let_through([open_path / ".."], nobody())  # open to all: left alone
    closed = open_path / "closed"
    closed.mkdir(mode=0o700)
    let_through([closed], nobody())
    before = read_acl(closed, 0)
    let_through([closed], nobody())
    assert read_acl(closed, 0) == before
    let_through([closed], Account("other", 12345, 12345))
    assert {who for tag, _, who in read_acl(closed, 0) if tag == USER} == {nobody().uid, 12345}


def test_a_file_system_without_acls_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The start fails with what to do; the directory is not opened to everybody instead."""

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(StartFailed, match="not supported") as failed:
        let_through([tmp_path], nobody())
    assert "ACLs" in failed.value.hint
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CLOSED, [(OWNER, 7, ALL), (USER, 1, 9), (GROUP, 0, ALL), (MASK, 1, ALL), (OTHER, 0, ALL)]),
        # The group's bits stood for themselves: they become the mask, and the group keeps what it had.
        (
            [(OWNER, 7, ALL), (GROUP, 4, ALL), (OTHER, 0, ALL)],
            [(OWNER, 7, ALL), (USER, 1, 9), (GROUP, 4, ALL), (MASK, 5, ALL), (OTHER, 0, ALL)],
        ),
        # What the mask held down (by a chmod 700) stays down.
        (
            [(OWNER, 7, ALL), (USER, 7, 8), (GROUP, 5, ALL), (MASK, 0, ALL), (OTHER, 0, ALL)],
            [(OWNER, 7, ALL), (USER, 0, 8), (USER, 1, 9), (GROUP, 0, ALL), (MASK, 1, ALL), (OTHER, 0, ALL)],
        ),
        (
            [(OWNER, 7, ALL), (USER, 4, 9), (GROUP, 0, ALL), (MASK, 5, ALL), (OTHER, 0, ALL)],
            [(OWNER, 7, ALL), (USER, 5, 9), (GROUP, 0, ALL), (MASK, 5, ALL), (OTHER, 0, ALL)],
        ),
    ],
)
def test_the_right_to_search_is_added_to_an_acl(
    before: list[tuple[int, int, int]], after: list[tuple[int, int, int]]
) -> None:
    """The user may search; what everybody else may do is the same as before."""
    assert with_search(before, 9) == after


@as_root
def test_a_closed_directory_above_is_named(open_path: Path) -> None:
    """The uppermost one that the user does not get through explains why it does not reach its data."""
    data = open_path / "closed" / "root" / "data"
    data.mkdir(parents=True)
    (open_path / "closed").chmod(0o700)
    assert closed_above(data, nobody()) == open_path / "closed"
    let_through([open_path / "closed"], nobody())
    assert closed_above(data, nobody()) is None
