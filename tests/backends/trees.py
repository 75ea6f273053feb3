# ruff: noqa: PTH101, PTH102, PTH115, PTH123, PTH208, PTH211  # names are arbitrary bytes here, which pathlib does not take
"""Random directory trees, and a way to compare them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

_FAST = Path("/dev/shm")


@contextlib.contextmanager
def workspace() -> Generator[Path]:
    """A fresh directory, in memory where there is any: random tests sync much."""
    path = Path(tempfile.mkdtemp(dir=_FAST if os.access(_FAST, os.W_OK) else None))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@dataclass(frozen=True)
class Node:
    kind: str  # d, f, l, h
    mode: int = 0o755
    mtime_ns: int = 1_700_000_000_123_456_789
    data: bytes = b""
    children: dict[bytes, Node] = field(default_factory=dict[bytes, "Node"])
    link: int = 0


names = st.one_of(
    st.sampled_from([b"a", b"b", b"A", b"a-b", b"a.b", b".hidden", b"\xff\xfe", b" ", b"-", b"\n", b"x" * 255]),
    st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0")),
).filter(lambda name: name not in {b".", b".."})
modes = st.sampled_from([0o755, 0o700, 0o500, 0o555, 0o1777, 0o000])
times = st.integers(-(10**15), 2 * 10**18)
contents = st.one_of(
    st.binary(max_size=200), st.binary(min_size=1, max_size=3).map(lambda seed: seed * 1500), st.just(bytes(5000))
)


def _directory(children: st.SearchStrategy[dict[bytes, Node]]) -> st.SearchStrategy[Node]:
    return st.builds(Node, st.just("d"), modes, times, children=children)


_leaves = st.one_of(
    st.builds(Node, st.just("f"), st.sampled_from([0o644, 0o600, 0o400, 0o755, 0o000]), times, contents),
    st.builds(
        Node,
        st.just("l"),
        mtime_ns=times,
        data=st.sampled_from([b"a", b"..", b"/etc/passwd", b"../../x", b"\xff", b"nowhere", b"."]),
    ),
    st.builds(Node, st.just("h"), link=st.integers(0, 100)),
)
_nodes = st.recursive(_leaves, lambda below: _directory(st.dictionaries(names, below, max_size=5)), max_leaves=20)
trees = _directory(st.dictionaries(names, _nodes, max_size=6))


def build(path: Path, tree: Node) -> Path:
    """Make a tree on disk. Hard links join one of the files made before them, where there is one."""
    files: list[bytes] = []

    def make(where: bytes, node: Node) -> None:
        if node.kind == "d":
            os.mkdir(where)
            for name, child in node.children.items():
                make(where + b"/" + name, child)
            os.chmod(where, node.mode)
        elif node.kind == "f":
            with open(where, "wb") as file:
                file.write(node.data)
            os.chmod(where, node.mode)
            files.append(where)
        elif node.kind == "l":
            os.symlink(node.data, where)
        elif files:
            os.link(files[node.link % len(files)], where)
            return
        else:
            return
        os.utime(where, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)

    make(os.fsencode(path), tree)
    return path


Snapshot = dict[bytes, tuple[object, ...]]


def snapshot(path: Path) -> Snapshot:
    """Everything that hydration promises to bring back."""
    seen: Snapshot = {}
    links: dict[int, bytes] = {}

    def look(where: bytes, name: bytes) -> None:
        status = os.lstat(where)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            seen[name] = ("d", mode, status.st_mtime_ns)
            for child in sorted(os.listdir(where)):
                look(where + b"/" + child, name + b"/" + child)
        elif stat.S_ISLNK(status.st_mode):
            seen[name] = ("l", os.readlink(where), status.st_mtime_ns)
        else:
            first = links.setdefault(status.st_ino, name)
            with open(where, "rb") as file:
                seen[name] = ("f", mode, status.st_mtime_ns, file.read(), first)

    look(os.fsencode(path), b"")
    return seen


def make_source(path: Path, *, big: int = (8 << 20) + 17) -> Path:
    """A small tree with one of everything: files that share a pack, one that is larger than a chunk, a link."""
    path.mkdir()
    (path / "dir").mkdir()
    for number in range(5):
        (path / "dir" / str(number)).write_bytes(os.urandom(1000))
    (path / "big").write_bytes(os.urandom(big))
    (path / "link").symlink_to("big")
    return path


def edit_source(path: Path) -> Snapshot:
    """Change it: content, a file less, and a part of the large one."""
    (path / "dir" / "3").write_bytes(b"edited")
    (path / "dir" / "4").unlink()
    with (path / "big").open("r+b") as file:
        file.write(os.urandom(100))
    return snapshot(path)
