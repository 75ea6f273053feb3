"""What the parser lets pass of a request's head, and others may read in another way."""

from __future__ import annotations

from collections.abc import Iterable


def is_ambiguous(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether two servers in a row could take a request for two different ones (RFC 9112, sections 3.2 and 6.1).

    Args:
        headers: its header fields, names in lower case.
    """
    hosts, codings = 0, list[bytes]()
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            codings.append(value)
    return hosts > 1 or len(codings) > 1 or any(coding.strip().lower() != b"chunked" for coding in codings)
