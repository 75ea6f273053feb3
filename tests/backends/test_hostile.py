"""Heads and manifests are untrusted: what breaks a rule is CorruptData before anything is written anywhere."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import CorruptData, Head
from backends.hydration.manifest import HOLE, BlobRef, Chunk, Entry, Manifest
from tests.backends.rig import Rig, listed
from tests.backends.trees import snapshot, workspace

SALT = b"s" * 16
DATA = b"0123456789" * 10 + SALT
DIGEST = blake3(DATA).digest()
ROOT = Entry(b"", "d", 0o755)
PART = Chunk(blake3(DATA[:10]).digest(), 0, 0, 10)
FILE = Entry(b"f", "f", 0o644, 0, 10, chunks=(PART,))
BLOBS = (BlobRef(DIGEST, len(DATA)),)


def _file(*chunks: Chunk, size: int, path: bytes = b"f") -> Entry:
    return Entry(path, "f", 0o644, 0, size, chunks=chunks)


def _manifest(*entries: Entry, blobs: tuple[BlobRef, ...] = BLOBS) -> Manifest:
    return Manifest(1, SALT, blobs, (ROOT, *entries))


HOSTILE: dict[str, Manifest] = {
    "no entries": Manifest(1, SALT, BLOBS, ()),
    "no root": Manifest(1, SALT, BLOBS, (FILE,)),
    "root is a file": Manifest(1, SALT, BLOBS, (Entry(b"", "f"),)),
    "two roots": _manifest(ROOT),
    "no salt": Manifest(1, b"", BLOBS, (ROOT, FILE)),
    "short salt": Manifest(1, SALT[:15], BLOBS, (ROOT, FILE)),
    "long salt": Manifest(1, SALT + b"s", BLOBS, (ROOT, FILE)),
    "newer format": Manifest(2, SALT, BLOBS, (ROOT, FILE)),
    "absolute": _manifest(Entry(b"/etc", "d")),
    "parent": _manifest(Entry(b"..", "d")),
    "parent below": _manifest(Entry(b"a", "d"), Entry(b"a/..", "d")),
    "parent file": _manifest(_file(PART, size=10, path=b"../f")),
    "dot": _manifest(Entry(b".", "d")),
    "empty component": _manifest(Entry(b"a", "d"), Entry(b"a//b", "d")),
    "trailing slash": _manifest(Entry(b"a/", "d")),
    "NUL": _manifest(Entry(b"a\0b", "d")),
    "long name": _manifest(Entry(b"x" * 256, "d")),
    "duplicate": _manifest(FILE, FILE),
    "file and directory": _manifest(Entry(b"f", "d"), FILE),
    "link and directory": _manifest(Entry(b"a", "l", target=b"/etc"), Entry(b"a", "d"), Entry(b"a/f", "d")),
    "out of order": _manifest(Entry(b"b", "d"), Entry(b"a", "d")),
    "parent after child": _manifest(Entry(b"a/b", "d"), Entry(b"a", "d")),
    "no parent": _manifest(Entry(b"a/b", "d")),
    "below a link": _manifest(Entry(b"a", "l", target=b"/etc"), Entry(b"a/passwd", "l", target=b"x")),
    "below a file": _manifest(FILE, Entry(b"f/g", "d")),
    "unknown blob": _manifest(_file(Chunk(b"\0" * 32, 1, 0, 10), size=10)),
    "negative blob": _manifest(_file(Chunk(b"\0" * 32, -2, 0, 10), size=10)),
    "beyond the blob": _manifest(_file(Chunk(b"\0" * 32, 0, 91, 10), size=10)),
    "into the salt": _manifest(_file(Chunk(blake3(DATA[91:101]).digest(), 0, 91, 10), size=10)),
    "negative offset": _manifest(_file(Chunk(b"\0" * 32, 0, -1, 10), size=10)),
    "huge offset": _manifest(_file(Chunk(b"\0" * 32, 0, 2**63 - 1, 10), size=10)),
    "negative length": _manifest(_file(PART, Chunk(b"\0" * 32, 0, 10, -5), size=5)),
    "empty chunk": _manifest(_file(Chunk(b"\0" * 32, 0, 0, 0), size=0)),
    "short hash": _manifest(_file(Chunk(b"\0" * 31, 0, 0, 10), size=10)),
    "size too big": _manifest(_file(PART, size=11)),
    "size too small": _manifest(_file(PART, size=9)),
    "negative size": _manifest(_file(size=-1)),
    "hole with hash": _manifest(_file(Chunk(b"\0" * 32, HOLE, 0, 10), size=10)),
    "hole with offset": _manifest(_file(Chunk(b"", HOLE, 1, 10), size=10)),
    "huge hole": _manifest(_file(Chunk(b"", HOLE, 0, 2**62 + 1), size=2**62 + 1)),
    "huge sum": _manifest(*(_file(Chunk(b"", HOLE, 0, 2**62), size=2**62, path=name) for name in (b"a", b"b"))),
    "blob of no size": _manifest(blobs=(BlobRef(DIGEST, 0),)),
    "blob of salt alone": _manifest(blobs=(BlobRef(DIGEST, 16),)),
    "huge blob": _manifest(blobs=(BlobRef(DIGEST, 2**40),)),
    "blob with a bad name": _manifest(blobs=(BlobRef(b"../../etc", 5),)),
    "blob twice": _manifest(blobs=BLOBS * 2),
    "set-uid": _manifest(Entry(b"d", "d", 0o4755)),
    "mode with type": _manifest(Entry(b"d", "d", 0o40755)),
    "negative mode": _manifest(Entry(b"d", "d", -1)),
    "time out of range": _manifest(Entry(b"d", "d", mtime_ns=2**63 + 1)),
    "directory with content": _manifest(Entry(b"d", "d", size=10, chunks=(PART,))),
    "directory with target": _manifest(Entry(b"d", "d", target=b"x")),
    "link without target": _manifest(Entry(b"l", "l")),
    "link with NUL": _manifest(Entry(b"l", "l", target=b"a\0b")),
    "link too long": _manifest(Entry(b"l", "l", target=b"x" * 4096)),
    "hard link outside": _manifest(FILE, Entry(b"h", "h", target=b"../f")),
    "hard link absolute": _manifest(FILE, Entry(b"h", "h", target=b"/etc/passwd")),
    "hard link to a later file": _manifest(Entry(b"e", "h", target=b"f"), FILE),
    "hard link to a directory": _manifest(Entry(b"d", "d"), Entry(b"h", "h", target=b"d")),
    "hard link to a link": _manifest(Entry(b"d", "l", target=b"/etc"), Entry(b"h", "h", target=b"d")),
    "hard link to itself": _manifest(Entry(b"h", "h", target=b"h")),
}

RAW: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello",
    "nested": b"\x91" * 100_000,
    "trailing": _manifest(FILE).encode() + b"\0",
    "unknown field": msgspec.msgpack.encode(
        {"format": 1, "salt": SALT, "blobs": [], "entries": [["", "d"]], "evil": 1}
    ),
    "long entry": msgspec.msgpack.encode(
        {"format": 1, "salt": SALT, "blobs": [], "entries": [[b"", "d", 0, 0, 0, b"", [], 1]]}
    ),
    "unknown kind": msgspec.msgpack.encode({"format": 1, "salt": SALT, "blobs": [], "entries": [[b"", "c"]]}),
    "text for bytes": msgspec.msgpack.encode({"format": 1, "salt": SALT, "blobs": [], "entries": [[5, "d"]]}),
    "no salt": msgspec.msgpack.encode({"format": 1, "blobs": [], "entries": [[b"", "d"]]}),
    "claims many": b"\x83\xa6format\x01\xa5blobs\xdd\xff\xff\xff\xff",
}


def _plant(path: Path, data: bytes) -> Head:
    rig = Rig(path)
    head = rig.claimed()
    rig.store.put("_tenant-1/blobs/" + DIGEST.hex(), DATA)
    digest = blake3(data).hexdigest()
    rig.store.put("_tenant-1/blobs/" + digest, data)
    return replace(head, manifest=digest)


def _refused(data: bytes) -> None:
    with workspace() as path:
        head = _plant(path, data)
        before = snapshot(path)
        with pytest.raises(CorruptData) as caught:
            Rig(path).load("copy", head)
        assert caught.value.blob == f"_tenant-1/blobs/{head.manifest}"
        assert snapshot(path) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_manifests(name: str) -> None:
    """A manifest that breaks a rule of the format is refused, and not a byte is written."""
    _refused(HOSTILE[name].encode())


@pytest.mark.parametrize("name", RAW)
def test_unreadable_manifests(name: str) -> None:
    """A manifest that is not of the format at all is refused, and not a byte is written."""
    _refused(RAW[name])


def test_the_harmless_one(tmp_path: Path) -> None:
    """The manifest that the hostile ones are made from is accepted."""
    entries = (Entry(b"d", "d", 0o755), FILE, Entry(b"h", "h", target=b"f"), Entry(b"l", "l", target=b"/etc/passwd"))
    copy = Rig(tmp_path).load("copy", _plant(tmp_path, _manifest(*entries).encode()))
    assert (copy / "h").read_bytes() == DATA[:10]
    assert (copy / "l").readlink() == Path("/etc/passwd")


def test_manifest_that_lies_about_a_chunk(tmp_path: Path) -> None:
    """A chunk whose hash is not that of its range is refused, though the blob itself is sound."""
    lie = _file(Chunk(blake3(b"other").digest(), 0, 0, 10), size=10)
    with pytest.raises(CorruptData):
        Rig(tmp_path).load("copy", _plant(tmp_path, _manifest(lie).encode()))
    assert not (tmp_path / "copy").exists()


_paths = st.lists(st.sampled_from([b"a", b"b", b"..", b".", b"", b"a\0"]), max_size=4).map(b"/".join)
_ints = st.one_of(st.integers(-3, 120), st.sampled_from([2**31, 2**62, 2**63 - 1, -(2**63)]))
_entries = st.builds(
    Entry,
    _paths,
    st.sampled_from(["d", "f", "l", "h"]),
    st.sampled_from([0o755, 0o644, 0o4777, -1]),
    _ints,
    _ints,
    st.one_of(st.just(b""), _paths),
    st.lists(st.builds(Chunk, st.sampled_from([b"", b"\0" * 32, PART.content, DIGEST]), _ints, _ints, _ints)).map(
        tuple
    ),
)


@given(entries=st.lists(_entries, max_size=4), rooted=st.booleans())
@settings(max_examples=200)
def test_random_manifests(entries: list[Entry], rooted: bool) -> None:
    """Any mixture of entries is either hydrated inside the destination or refused; nothing else changes."""
    with workspace() as path:
        manifest = Manifest(1, SALT, BLOBS, (ROOT, *entries) if rooted else tuple(entries))
        head = _plant(path, manifest.encode())
        before = snapshot(path)
        try:
            Rig(path).load("copy", head)
        except CorruptData:
            assert not (path / "copy").exists()
        after = snapshot(path)
        mine = (b"/copy", b"/scratch", b"/index")
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert all(not name or name.startswith(mine) for name in changed)


@given(data=st.binary(max_size=300), at=st.integers(0, 200), flip=st.integers(1, 255))
@settings(max_examples=200)
def test_damaged_bytes_never_escape_as_other_errors(data: bytes, at: int, flip: int) -> None:
    """Random bytes and flipped bits of heads and manifests are CorruptData or still valid, never another error."""
    sound = bytearray(_manifest(FILE).encode())
    sound[at % len(sound)] ^= flip
    head = bytearray(Head(1, "me", 1, "store", "0" * 64, None, tombstone=False, etag="", nonce="n").to_json())
    head[at % len(head)] ^= flip
    for raw in (data, bytes(sound)):
        with contextlib.suppress(CorruptData):
            Manifest.decode(raw, blob=blake3(raw).hexdigest())
    for raw in (data, bytes(head)):
        with contextlib.suppress(CorruptData):
            Head.from_json(raw, "e")


def _head(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "format": 1, "owner": "me", "epoch": 1, "kind": "store", "manifest": None, "previous": None,
        "tombstone": False, "nonce": "n",
    }  # fmt: skip
    return msgspec.json.encode({**fields, **changes})


BAD_HEADS = {
    "empty": b"",
    "list": b"[]",
    "text": b"hello",
    "nested": b"[" * 50_000,
    "not UTF-8": b'{"owner":"\xff"}',
    "missing fields": b'{"format":1}',
    "unknown field": _head(evil=1),
    "format 2": _head(format=2),
    "epoch 0": _head(epoch=0),
    "epoch text": _head(epoch="1"),
    "epoch huge": _head(epoch=2**60),
    "no owner": _head(owner=""),
    "owner with newline": _head(owner="a\nb"),
    "kind with space": _head(kind="a b"),
    "manifest path": _head(manifest="../../other/blobs/" + "0" * 46),
    "manifest upper": _head(manifest="A" * 64),
    "previous short": _head(previous="0" * 63),
    "tombstone number": _head(tombstone=1),
    "no nonce": _head(nonce=""),
    "long nonce": _head(nonce="x" * 65),
    "long term": _head(term="x" * 65),
    "term number": _head(term=1),
    "lease negative": _head(lease_ms=-1),
    "lease for ever": _head(lease_ms=367 * 24 * 3600 * 1000),
    "lease text": _head(lease_ms="1"),
    "too large": _head(nonce="x" * 70_000),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_hostile_heads(tmp_path: Path, name: str) -> None:
    """A head that is not one is refused by name when it is read, and can still be erased."""
    rig = Rig(tmp_path)
    rig.store.put("_tenant-1/head", BAD_HEADS[name])
    with pytest.raises(CorruptData) as caught:
        rig.module.read_head()
    assert caught.value.blob == "_tenant-1/head"
    assert rig.module.erase().remaining == 0
    assert rig.module.read_head() is None
    assert listed(tmp_path / "store") == []


def test_a_folder_in_place_of_a_head(tmp_path: Path) -> None:
    """A stranger's folder under the head's name is damage of this module, told with what to do; not an outage."""
    rig = Rig(tmp_path)
    rig.store.put("_tenant-1/blobs/x", b"1")
    folder = tmp_path / "store" / "_tenant-1" / "head"
    folder.mkdir()
    with pytest.raises(CorruptData, match="folder") as caught:
        rig.module.erase()
    assert "remove it" in caught.value.hint
    folder.rmdir()
    assert rig.module.erase().remaining == 0
