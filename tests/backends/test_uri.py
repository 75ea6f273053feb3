"""From URIs to stores, and from ids to names."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import backends
from backends import (
    BackendsError,
    BackendUnavailable,
    InvalidName,
    InvalidURI,
    decode_module_id,
    encode_module_id,
    module_prefix,
    open_store,
)
from backends.hydration.progress import Meter, Progress
from backends.uri import ENTRY_POINTS

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", fullmatch=True)


def test_file_uris(tmp_path: Path) -> None:
    """Absolute paths, with or without localhost, percent-encoded or not, name one folder."""
    (tmp_path / "a b%").mkdir()
    for uri in (f"file://{tmp_path}/a%20b%25", f"file://localhost{tmp_path}/a%20b%25", (tmp_path / "a b%").as_uri()):
        store = open_store(uri)
        store.put("m/head", uri.encode())
        assert (tmp_path / "a b%" / "m" / "head").read_bytes() == uri.encode()
        assert store.uri == (tmp_path / "a b%").as_uri()


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/tmp/x",
        "tmp/x",
        "file:",
        "file:relative",
        "file:/one-slash",
        "file://",
        "file:///",
        "file://host/path",
        "file://relative/path",
        "file:///path?versions=1",
        "file:///path?create=maybe",
        "file:///path#part",
        "file:///a%00b",
        "file:///a\nb",
        "gopher://x",
        "s3",
        "://x",
        "file://[::1/x",
    ],
)
def test_unusable_uris(uri: str) -> None:
    """What is no usable backend URI is refused with a hint of what is."""
    with pytest.raises(InvalidURI) as caught:
        open_store(uri)
    assert caught.value.hint


@pytest.mark.parametrize(
    "uri",
    [
        "s3://key:hunter2@bucket/x",
        "file://user:hunter2@localhost/x",
        "file://hunter2@/x",
        "file:///x?password=hunter2",
        "hunter2@x:file://",
        "file://[hunter2/x",
        "hunter2",
    ],
)
def test_secrets_are_not_repeated(uri: str) -> None:
    """Nothing of a refused URI that may be secret stands in the error or its causes."""
    with pytest.raises(InvalidURI) as caught:
        open_store(uri)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in f"{error}{error!r}{getattr(error, 'hint', '')}"
        assert error.__cause__ is None or error.__suppress_context__
        error = error.__cause__


def test_unknown_options() -> None:
    """An option that a store does not know is refused with what it knows."""
    with pytest.raises(InvalidURI) as caught:
        open_store("file:///x", fsync=False)
    assert "create" in caught.value.hint


@pytest.mark.parametrize("how", ["uri", "option"])
def test_a_folder_that_must_exist(tmp_path: Path, how: str) -> None:
    """With create=false a missing folder is unavailable from the start, and is not created."""
    uri = (tmp_path / "disk").as_uri()
    store = open_store(f"{uri}?create=false") if how == "uri" else open_store(uri, create=False)
    for act in (store.check, lambda: store.get("m/head"), lambda: store.put("m/head", b"1")):
        with pytest.raises(BackendUnavailable):
            act()
    (tmp_path / "disk").mkdir()
    store.put("m/head", b"1")


def test_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point adds a scheme; one that can't be loaded is a typed error."""
    points = [
        importlib.metadata.EntryPoint("mine", "tests.backends.test_uri:make_store", ENTRY_POINTS),
        importlib.metadata.EntryPoint("broken", "no.such.module:x", ENTRY_POINTS),
    ]

    def entry_points(*, group: str) -> importlib.metadata.EntryPoints:
        return importlib.metadata.EntryPoints(points).select(group=group)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    store = open_store(f"mine://{tmp_path}", speed=1)
    assert store.uri == (tmp_path / "1").as_uri()
    with pytest.raises(BackendsError, match="broken"):
        open_store("broken://x")
    with pytest.raises(InvalidURI) as caught:
        open_store("other://x")
    assert "broken, file, mine" in caught.value.hint


def make_store(uri: str, *, speed: int) -> backends.BlobStore:
    return open_store(uri.replace("mine:", "file:") + f"/{speed}")


@given(first=ids, second=ids)
def test_ids_never_collide(first: str, second: str) -> None:
    """Distinct ids have distinct names, also where case does not count; a name gives its id back."""
    one, two = encode_module_id(first), encode_module_id(second)
    assert (one.lower() == two.lower()) == (first == second)
    assert re.fullmatch(r"[a-z0-9_][a-z0-9_-]*", one)
    assert len(one) <= 126
    assert decode_module_id(one) == first
    assert module_prefix(first) == one + "/"


def test_case_is_kept() -> None:
    """Ids that differ only in case are two modules."""
    names = {encode_module_id(name) for name in ("abc", "Abc", "aBc", "ABC")}
    assert names == {"abc", "_abc", "a_bc", "_a_b_c"}


@pytest.mark.parametrize("name", ["", "-a", "a_b", "a.b", "..", "a/b", "a\n", "ä", "x" * 64, "a b"])
def test_bad_ids(name: str) -> None:
    """What is no module id is refused."""
    with pytest.raises(InvalidName):
        encode_module_id(name)


@pytest.mark.parametrize("name", ["A", "_", "_A", "a_", "_1", "__a", "lost+found", ".tmp", "-a"])
def test_names_of_no_module(name: str) -> None:
    """A folder that no id is encoded to belongs to no module."""
    assert decode_module_id(name) is None


def test_public_names_exist() -> None:
    """Everything that the package says it exports is there."""
    assert all(hasattr(backends, name) for name in backends.__all__)


def test_progress_counts_up() -> None:
    """Each phase begins at nothing, grows, and is reported once it is complete."""
    seen: list[Progress] = []
    meter = Meter(seen.append, None)
    meter.phase("upload", bytes_total=10, files_total=2)
    for _ in range(2):
        meter.add(bytes_=5, files=1)
    assert (seen[0].bytes_done, seen[0].rate) == (0, 0.0)
    last = seen[-1]
    assert (last.phase, last.bytes_done, last.bytes_total, last.files_done, last.files_total) == (
        "upload",
        10,
        10,
        2,
        2,
    )
    assert last.rate == pytest.approx(10 / last.elapsed_s) if last.elapsed_s else True
