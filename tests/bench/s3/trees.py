"""The trees that are sent home: the same bytes in every run, incompressible, unlike each other."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
PAGE = 4096
# Enough to be a large object for any server, and few.
_OBJECT = 64 * MIB


@dataclass(frozen=True)
class Tree:
    """A directory to send.

    Attributes:
        path: The directory.
        objects: The same number of bytes as few large files, for the floor.
        files: How many files it has.
        size: Bytes in them.
    """

    path: Path
    objects: Path
    files: int
    size: int


def small(base: Path) -> Tree:
    """(a) 2,000 files of 4 KiB."""
    return _made(base / "a", [PAGE] * 2000, each_folder=2000)


def big(base: Path) -> Tree:
    """(b) 8 files of 64 MiB."""
    return _made(base / "b", [64 * MIB] * 8, each_folder=8)


def mixed(base: Path) -> Tree:
    """(c) and (e) 20,000 files of mixed sizes, 512 MiB."""
    return _made(base / "c", mixed_sizes(20_000, 512 * MIB), each_folder=100)


def page(base: Path) -> Tree:
    """(d) One file of 1 GiB."""
    return _made(base / "d", [1024 * MIB], each_folder=1)


def mixed_sizes(count: int, total: int) -> list[int]:
    """Sizes as trees of people and servers have them: most are small, few hold most of the bytes.

    Args:
        count: How many files.
        total: Bytes in all of them, exactly.

    Returns:
        Their sizes, at least one byte each.
    """
    source = random.Random(20_000)
    raw = [source.lognormvariate(0, 1.8) for _ in range(count)]
    scale = (total - count) / sum(raw)
    sizes = [1 + int(value * scale) for value in raw]
    sizes[0] += total - sum(sizes)
    return sizes


def change_page(tree: Tree) -> None:
    """Change one page in the middle of the tree's only file."""
    with (tree.path / "0" / "0").open("r+b") as file:
        file.seek(tree.size // 2 // PAGE * PAGE)
        file.write(os.urandom(PAGE))


def _made(folder: Path, sizes: list[int], *, each_folder: int) -> Tree:
    tree, objects = folder / "tree", folder / "objects"
    source = random.Random(folder.name)
    for number, size in enumerate(sizes):
        path = tree / str(number // each_folder) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, size, source)
    objects.mkdir()
    total = sum(sizes)
    for number, start in enumerate(range(0, total, _OBJECT)):
        _write(objects / str(number), min(_OBJECT, total - start), source)
    return Tree(tree, objects, len(sizes), total)


def _write(path: Path, size: int, source: random.Random) -> None:
    with path.open("wb") as file:
        for start in range(0, size, 8 * MIB):
            file.write(source.randbytes(min(8 * MIB, size - start)))
