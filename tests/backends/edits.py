"""Random edits of a directory, as a server might make them between two dehydrations."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

_MIB = 1 << 20


@dataclass(frozen=True)
class Edit:
    """What is done, to which of the names that are there, and with what."""

    act: str
    which: int
    other: int
    seed: int
    size: int

    @property
    def data(self) -> bytes:
        return (b"%d." % self.seed * (self.size // 2 + 1))[: self.size]


class _Tree:
    def __init__(self, root: Path) -> None:
        self.root = root
        paths = sorted(root.rglob("*"))
        self.folders = [root, *(path for path in paths if path.is_dir() and not path.is_symlink())]
        self.files = [path for path in paths if path.is_file() and not path.is_symlink()]
        self.names = paths


def _fresh(tree: _Tree, edit: Edit) -> Path:
    return tree.folders[edit.other % len(tree.folders)] / f"n{edit.seed % 7}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(tree: _Tree, edit: Edit, path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        _remove(path) if path.is_symlink() else None
        path.write_bytes(edit.data)


def _patch(tree: _Tree, edit: Edit, path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(edit.other * 1000)
        file.write(edit.data[:5000])


def _truncate(tree: _Tree, edit: Edit, path: Path) -> None:
    os.truncate(path, edit.size)


def _hole(tree: _Tree, edit: Edit, path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(9 * _MIB)
        file.seek(edit.other % 9 * _MIB)
        file.write(edit.data[:100])


def _rename(tree: _Tree, edit: Edit, path: Path) -> None:
    target = _fresh(tree, edit)
    if path != target and path not in target.parents and target not in path.parents:
        _remove(target)
        path.rename(target)


def _hard_link(tree: _Tree, edit: Edit, path: Path) -> None:
    target = _fresh(tree, edit)
    if target != path and target not in path.parents:
        _remove(target)
        target.hardlink_to(path)


def _break_link(tree: _Tree, edit: Edit, path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def _symlink(tree: _Tree, edit: Edit, path: Path) -> None:
    _remove(path)
    path.symlink_to(f"../{edit.seed}")


def _to_directory(tree: _Tree, edit: Edit, path: Path) -> None:
    _remove(path)
    path.mkdir()
    (path / "inside").write_bytes(edit.data)


def _to_file(tree: _Tree, edit: Edit, path: Path) -> None:
    _remove(path)
    path.write_bytes(edit.data)


def _chmod(tree: _Tree, edit: Edit, path: Path) -> None:
    if not path.is_symlink():
        path.chmod((0o700, 0o755, 0o750, 0o1777)[edit.other % 4])


def _touch(tree: _Tree, edit: Edit, path: Path) -> None:
    os.utime(path, ns=(0, edit.seed * 10**15 + edit.other), follow_symlinks=False)


def _remove_name(tree: _Tree, edit: Edit, path: Path) -> None:
    _remove(path)


_Act = Callable[[_Tree, Edit, Path], None]
_ON_FILES: dict[str, _Act] = {
    "patch": _patch,
    "truncate": _truncate,
    "hole": _hole,
    "hard link": _hard_link,
    "break link": _break_link,
}
_ON_NAMES: dict[str, _Act] = {
    "rename": _rename,
    "symlink": _symlink,
    "to directory": _to_directory,
    "to file": _to_file,
    "chmod": _chmod,
    "touch": _touch,
    "remove": _remove_name,
}
ACTS = ["new", "new", "new", "mkdir", "nothing", *_ON_FILES, *_ON_NAMES]

edits = st.builds(
    Edit,
    st.sampled_from(ACTS),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 1000),
    st.sampled_from([0, 1, 10, 5000, 70_000, _MIB - 1, _MIB, 4 * _MIB, 4 * _MIB + 3]),
)


def apply(root: Path, edit: Edit) -> None:
    """Do one edit; nothing where there is nothing that it could be done to."""
    tree = _Tree(root)
    if edit.act == "new":
        _write(tree, edit, _fresh(tree, edit))
    elif edit.act == "mkdir":
        target = _fresh(tree, edit)
        if not os.path.lexists(target):
            target.mkdir()
    elif edit.act in _ON_FILES and tree.files:
        _ON_FILES[edit.act](tree, edit, tree.files[edit.which % len(tree.files)])
    elif edit.act in _ON_NAMES and tree.names:
        _ON_NAMES[edit.act](tree, edit, tree.names[edit.which % len(tree.names)])
