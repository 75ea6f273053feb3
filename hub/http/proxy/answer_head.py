"""The head of an answer, as the client gets it: without what would reach beyond the module, its places put in order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from hub.http.proxy.cookies import confine
from hub.http.proxy.request_head import HOP_BY_HOP

# All modules and the hub itself share one origin in a browser. These speak for the origin as a whole, or beyond it.
_FOR_THE_ORIGIN = frozenset(
    {
        b"alt-svc",
        b"clear-site-data",
        b"expect-ct",
        b"nel",
        b"origin-agent-cluster",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"report-to",
        b"reporting-endpoints",
        b"service-worker-allowed",
        b"set-cookie2",
        b"strict-transport-security",
    }
)
# The server before us dates its answers itself.
_DROPPED = HOP_BY_HOP | _FOR_THE_ORIGIN | {b"date"}
_PLACES = frozenset({b"location", b"content-location"})
_SPECIAL = _DROPPED | _PLACES | {b"set-cookie", b"content-length"}

# No allow-same-origin: its scripts run in an origin of their own, whose requests to the hub are refused.
SANDBOX = (
    b"content-security-policy",
    b"sandbox allow-scripts allow-forms allow-popups allow-downloads allow-modals",
)
_ABSOLUTE = re.compile(rb"(?i:https?:)?//([^/?#]*)(.*)", re.DOTALL)


class AnswerHead(NamedTuple):
    """What an instance's answer begins with.

    Attributes:
        status: its status, 200 to 599.
        fields: its fields as they came, names in lower case.
    """

    status: int
    fields: list[tuple[bytes, bytes]]


def rewrite(answer: AnswerHead, *, prefix: bytes, authority: bytes, sandbox: bool) -> list[tuple[bytes, bytes]]:
    """Make the fields that the client gets.

    Args:
        answer: what the instance answered.
        prefix: path below which the client sees the instance; empty on its virtual host.
        authority: the instance's own `host:port`.
        sandbox: whether its pages are to run in an origin of their own; on a virtual host they do.
    """
    kept: list[tuple[bytes, bytes]] = []
    named: set[bytes] = set()
    for pair in answer.fields:
        name, value = pair
        if name not in _SPECIAL or (not prefix and name == b"service-worker-allowed"):
            kept.append(pair)
        elif name == b"set-cookie":
            kept.append((name, confine(value, prefix)))
        elif name in _PLACES:
            kept.append((name, place(value, prefix, authority)))
        elif name == b"connection":
            named.update(part.strip().lower() for part in value.split(b","))
        elif name == b"content-length" and answer.status not in {204, 304}:
            # Servers take it for what is to follow, and nothing does.
            kept.append(pair)
    if named:
        kept = [pair for pair in kept if pair[0] not in named or pair[0] == b"content-length"]
    if sandbox and prefix:
        kept.append(SANDBOX)
    return kept


def place(value: bytes, prefix: bytes, authority: bytes) -> bytes:
    """Put a URL of the instance's own below the prefix; others, and relative ones, stay as they are."""
    absolute = _ABSOLUTE.fullmatch(value)
    if absolute is not None:
        if absolute[1].lower() not in _names(authority):
            return value
        value = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    elif not value.startswith(b"/"):
        return value
    if not prefix:
        # What begins with two slashes is another host's, unless an empty segment is before it.
        return b"/." + value if absolute is not None and value.startswith(b"//") else value
    # An instance that reads X-Forwarded-Prefix has put it there already.
    if value == prefix or value.startswith((prefix + b"/", prefix + b"?", prefix + b"#")):
        return value
    return prefix + value


def _names(authority: bytes) -> Iterable[bytes]:
    port = authority.rpartition(b":")[2]
    return (authority, b"localhost:" + port)
