"""Whom a kind's processes run as, and how they get to data below directories that are closed to everybody else.

The directories above a module's data are open to the hub's user alone. A server of another user needs to pass through
them, no more: it gets the right to search, and nobody else gets anything. By an ACL, since mode bits can't say that: 0711
would let every user of the machine through, and a group has one place in each directory, which kinds of different users
would need at once.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.directory import DIRECTORY, DirTree
from hub.errors import StartFailed

# From linux/posix_acl_xattr.h and linux/posix_acl.h.
_ACL = "system.posix_acl_access"
_ACL_VERSION = struct.pack("<I", 2)
_ACL_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
_SEARCH = 1

AclEntry = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine that is not the hub's own.

    Attributes:
        name: login name.
        uid: user id.
        gid: id of the primary group.
    """

    name: str
    uid: int
    gid: int


def account_of(user: str | None) -> Account | None:
    """Find out whom to run as.

    Args:
        user: a kind's `user`.

    Returns:
        The account; `None` = as the hub's own user, which is all that a hub without root's rights can do.

    Raises:
        StartFailed: the hub is root and there is no such user.
    """
    if user is None or os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise StartFailed(
            f"there is no user {user!r} to run it as",
            hint=f"make it (adduser --system --group {user}), or name another one as `user` of the kind",
        ) from None
    return None if found.pw_uid == os.geteuid() else Account(user, found.pw_uid, found.pw_gid)


def give(directory: Path, account: Account) -> bool:
    """Make a tree that the hub has made, such as a hydrated one, the account's. Links are not followed.

    Nothing happens where it is the account's already: once its server has run, no file in there is trusted. A hard link
    to a file of somebody else's, planted by a tenant, would be given to it.

    Args:
        directory: the tree.
        account: its owner from now on.

    Returns:
        Whether anything was to be done.

    Raises:
        OSError: the disk refused; it can be tried again.
    """
    with DirTree(os.open(directory, DIRECTORY)) as tree:
        with tree.folder(b"") as root:
            former = os.fstat(root).st_uid
        if former == account.uid:
            return False
        waiting = [b""]
        while waiting:
            folder = waiting.pop()
            for name, status in tree.entries(folder):
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(folder + b"/" + name if folder else name)
                if status.st_uid == former:
                    with tree.folder(folder) as parent:
                        os.chown(name, account.uid, account.gid, dir_fd=parent, follow_symlinks=False)
        # Last: until then nobody else can come in, and a hub that is killed midway begins anew.
        with tree.folder(b"") as root:
            os.fchown(root, account.uid, account.gid)
    return True


def let_through(directories: Sequence[Path], account: Account) -> None:
    """Let the account, and nobody else, pass through directories of the hub's.

    Args:
        directories: the directories.
        account: who may search them from now on; it can't list them.

    Raises:
        StartFailed: the file system can't say so.
    """
    for directory in directories:
        status = directory.stat()
        if status.st_mode & stat.S_IXOTH:
            continue
        try:
            entries = read_acl(directory, status.st_mode)
            allowed = with_search(entries, account.uid)
            if allowed != entries:
                packed = b"".join(_ACL_ENTRY.pack(*entry) for entry in allowed)
                os.setxattr(directory, _ACL, _ACL_VERSION + packed)
        except OSError as error:
            raise StartFailed(
                f"{directory} can't be opened to user {account.name!r}: {error.strerror}",
                hint="its file system keeps no ACLs: put data_dir on one that does, or run the hub as that user",
            ) from error


def read_acl(path: Path, mode: int) -> list[AclEntry]:
    """Return a directory's ACL as (tag, permissions, id); where it has none, the one that its mode stands for."""
    try:
        packed = os.getxattr(path, _ACL)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        bits = ((_USER_OBJ, mode >> 6), (_GROUP_OBJ, mode >> 3), (_OTHER, mode))
        return [(tag, permissions & 7, _NOBODY) for tag, permissions in bits]
    return list(_ACL_ENTRY.iter_unpack(packed[len(_ACL_VERSION) :]))


def with_search(entries: Sequence[AclEntry], uid: int) -> list[AclEntry]:
    """Return an ACL in which a user may search, and everybody else what they could before.

    Args:
        entries: the ACL, sorted as the kernel has it.
        uid: the user.
    """
    named = {(tag, who): permissions for tag, permissions, who in entries}
    mask = named.get((_MASK, _NOBODY))
    own = named.get((_USER, uid), 0)
    if mask is None:
        # So far the group's bits stood for themselves; from now on the mask bounds them and all that are named.
        mask = named[_GROUP_OBJ, _NOBODY]
    elif not mask & _SEARCH:
        # To widen the mask must not wake what it held down.
        for key in named:
            if key[0] in {_USER, _GROUP_OBJ, _GROUP}:
                named[key] &= mask
        own &= mask
    named[_USER, uid] = own | _SEARCH
    named[_MASK, _NOBODY] = mask | _SEARCH
    return [(tag, permissions, who) for (tag, who), permissions in sorted(named.items())]


def closed_above(directory: Path, account: Account) -> Path | None:
    """Return the uppermost directory that an account seems not to get through on its way to a directory.

    By mode bits alone, so it may be wrong where there are ACLs: it explains a failure, it forbids nothing.
    """
    for path in reversed(directory.absolute().parents):
        try:
            status = path.stat()
            entries = read_acl(path, status.st_mode)
        except OSError:
            continue
        own = status.st_uid == account.uid and status.st_mode & stat.S_IXUSR
        named = any(tag == _USER and who == account.uid and permissions & _SEARCH for tag, permissions, who in entries)
        group = status.st_gid == account.gid and status.st_mode & stat.S_IXGRP
        if not (own or named or group or status.st_mode & stat.S_IXOTH):
            return path
    return None
