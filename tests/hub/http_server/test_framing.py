"""Which heads are refused although the parser takes them."""

from __future__ import annotations

import pytest

from hub.http.framing import is_ambiguous

CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    ("headers", "ambiguous"),
    [
        ([], False),
        ([(b"host", b"a"), CHUNKED], False),
        ([(b"transfer-encoding", b" Chunked ")], False),
        ([(b"host", b"a"), (b"host", b"a")], True),
        ([CHUNKED, CHUNKED], True),
        ([(b"transfer-encoding", b"gzip, chunked")], True),
        ([(b"transfer-encoding", b"xchunked")], True),
        ([(b"transfer-encoding", b"")], True),
    ],
)
def test_what_could_be_read_in_two_ways(headers: list[tuple[bytes, bytes]], *, ambiguous: bool) -> None:
    """More than one host, and any transfer coding but chunked, once, alone."""
    assert is_ambiguous(headers) is ambiguous
