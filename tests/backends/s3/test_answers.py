"""Answers that no S3 server should give: each is a typed error or is read rightly, and never proves anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends import BackendUnavailable, BlobStore, CorruptData, Guard, PreconditionFailed, RemoteModule
from backends.s3.body import crc32
from tests.backends.conftest import Clock
from tests.backends.s3.scripted import DONE, ETAG, Answer, Scripted, listing, xml

PORTAL = {
    "html": Answer(body=b"<html><body><p>Sign in</p></body></html>"),
    "nothing": Answer(),
    "another root": xml("Portal", "<Contents/>"),
}


@pytest.mark.parametrize("answer", PORTAL.values(), ids=PORTAL)
def test_a_page_is_no_empty_listing(server: Scripted, clock: Clock, answer: Answer) -> None:
    """What a proxy or portal answers in the server's place with status 200 lists nothing, and proves no erasure."""
    server.then(answer)
    store = server.store()
    looks: list[Callable[[], object]] = [
        lambda: list(store.list("m/")),
        lambda: list(store.remains("m/")),
        lambda: store.sweep_unfinished("m/"),
    ]
    for look in looks:
        with pytest.raises(BackendUnavailable, match="no listing"):
            look()
    with pytest.raises(BackendUnavailable, match="no listing"):
        RemoteModule(store, "m", owner="one").erase()


def test_the_page_after_a_portal_counts(server: Scripted, clock: Clock) -> None:
    """A listing that something else answered is asked for again."""
    server.then(PORTAL["html"], listing("ListBucketResult", "<Contents><Key>p/m/a</Key><Size>3</Size></Contents>"))
    assert [info.key for info in server.store().list("m/")] == ["m/a"]


def _listed(content: str) -> Answer:
    return listing("ListBucketResult", f"<Contents>{content}</Contents>")


UNREADABLE: dict[str, tuple[Answer, Callable[[BlobStore], object]]] = {
    "size in words": (_listed("<Key>p/m/a</Key><Size>SECRET</Size>"), lambda store: list(store.list("m/"))),
    "size below nothing": (_listed("<Key>p/m/a</Key><Size>-1</Size>"), lambda store: list(store.list("m/"))),
    "two keys": (_listed("<Key>p/m/a</Key><Key>p/m/b</Key>"), lambda store: list(store.list("m/"))),
    "no date": (
        _listed("<Key>p/m/a</Key><Size>1</Size><LastModified>SECRET</LastModified>"),
        lambda store: list(store.list("m/")),
    ),
    "header in words": (
        Answer(body=b"1", headers={"ETag": ETAG, "x-amz-missing-meta": "SECRET"}),
        lambda store: store.get("m/a"),
    ),
    "a head without etag": (
        Answer(body=b"1"),
        lambda store: store.put("m/a", b"1", guard=Guard.unchanged("m/head", ETAG)),
    ),
    "an upload without id": (xml("InitiateMultipartUploadResult"), lambda store: store.put("m/a", bytes(17 << 20))),
    "another range": (
        Answer(206, b"abcd", {"ETag": ETAG, "Content-Range": "bytes 4-7/100"}),
        lambda store: store.get_range("m/a", 0, 4),
    ),
}


@pytest.mark.parametrize(("answer", "ask"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_can_not_be_read_is_asked_for_again(
    server: Scripted, clock: Clock, answer: Answer, ask: Callable[[BlobStore], object]
) -> None:
    """An answer that makes no sense is taken as damaged, some times in a row as a failure; its words are not told."""
    server.then(answer)
    with pytest.raises(BackendUnavailable) as caught:
        ask(server.store())
    assert len(server.requests) == 4
    assert "SECRET" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__} {caught.value.__context__}"


def test_content_in_pieces(server: Scripted, clock: Clock) -> None:
    """An answer that does not tell its length is read, up to the limit, and no further."""
    server.then(Answer(body=b"x" * 100, headers={"ETag": ETAG}, chunked=True))
    store = server.store()
    assert store.get("m/a") == (b"x" * 100, ETAG)
    assert store.get("m/a", limit=100) == (b"x" * 100, ETAG)
    with pytest.raises(CorruptData, match="larger than the 99 bytes"):
        store.get("m/a", limit=99)


def test_a_range_that_is_ignored(server: Scripted, clock: Clock) -> None:
    """Of a whole object that comes instead of a range, the range is taken; one that breaks off is asked for again."""
    whole = Answer(body=b"abcdefgh", headers={"ETag": ETAG})
    server.then(whole, whole, whole, Answer(body=b"ab", headers={"ETag": ETAG}, length=8), whole)
    store = server.store()
    assert [store.get_range("m/a", *at) for at in ((0, 3), (2, 100), (8, 1))] == [b"abc", b"cdefgh", b""]
    assert store.get_range("m/a", 1, 100) == b"bcdefgh"
    assert len(server.requests) == 5


@pytest.mark.parametrize("guard", [Guard.unchanged("m/head", ETAG), Guard("m/head", lambda data, _: data != b"", 99)])
def test_another_head_is_not_read(server: Scripted, clock: Clock, guard: Guard) -> None:
    """A guard does not read whatever is under the head's name by now, if it is larger than what it asks for."""
    server.then(Answer(body=b"", headers={"ETag": '"2"'}, length=1 << 40), DONE)
    with pytest.raises(PreconditionFailed, match="has changed"):
        server.store().put("m/a", b"1", guard=guard)
    assert server.made == ["GET"]


def test_a_damaged_head_is_no_lost_fence(server: Scripted, clock: Clock) -> None:
    """What a guard reads is compared with its checksum, and read again where it does not match."""
    checked = {"ETag": '"2"', "x-amz-checksum-crc32": crc32(b"mine")}
    server.then(Answer(body=b"mind", headers=checked), Answer(body=b"mine", headers=checked), DONE)
    server.store().put("m/a", b"1", guard=Guard("m/head", lambda data, _: data == b"mine", 99))
    assert server.made == ["GET", "GET", "PUT"]
