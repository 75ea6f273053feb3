"""The head of a request to an instance: made anew from what the server parsed, never copied.

So an instance sees exactly the requests that the client's own framing sent, each framed by us.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from hub.http.proxy.errors import BadProxyRequest, MethodRefused
from hub.http.proxy.forwarded import FIELDS, TrustedProxies, forwarded, is_host
from hub.http.proxy.target import Target

# Those of one connection alone (RFC 9110, 7.6.1), whether `Connection` names them or not.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-authentication-info",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
# Ours to tell. What a client says of these is discarded; `X-Real-IP` and `Forwarded` tell the same in other words.
_OURS = frozenset(
    {
        b"host",
        b"content-length",
        b"expect",
        b"forwarded",
        b"x-real-ip",
        b"x-forwarded-port",
        b"x-forwarded-server",
        *FIELDS,
    }
)
_HANDSHAKE = frozenset(
    {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions", b"sec-websocket-protocol"}
)
_SPECIAL = HOP_BY_HOP | _OURS | _HANDSHAKE | {b"authorization"}

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
# Without the underscore: many servers read it as a hyphen, which makes `X_Forwarded_For` a way past us.
NAME = re.compile(rb"[!#$%&'*+.^`|~0-9A-Za-z-]{1,256}")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_VERSIONS = frozenset({None, "1.0", "1.1", "2", "3"})
_LENGTH = re.compile(rb"[0-9]{1,18}")
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH", "QUERY"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


INSTANCE = b"\0"
"""Stands for the instance's authority where it is not known yet; no field of a client has it."""
_ORIGINS = frozenset({b"origin", b"referer"})


class RequestHead(NamedTuple):
    """The head of a request, but for the instance's own address.

    Attributes:
        method: its method.
        repeatable: whether it may be sent twice: its method is idempotent.
        prefix: path below which the client sees the instance.
        length: bytes of the body; `None` = not known beforehand.
        chunked: whether the body comes in chunks.
        expects: whether the client wants to hear that it may send the body.
        last: whether its connection has to end with it.
        before: the head before the instance's authority.
        after: the head after it, without the framing; with `INSTANCE`.
    """

    method: str
    repeatable: bool
    prefix: bytes
    length: int | None
    chunked: bool
    expects: bool
    last: bool
    before: bytes
    after: bytes

    def encode(self, authority: bytes) -> bytes:
        """Return the whole head for an instance's `host:port`."""
        if self.chunked:
            framing = b"\r\ntransfer-encoding: chunked\r\n"
        elif self.length is not None:
            framing = b"\r\ncontent-length: %d\r\n" % self.length
        else:
            framing = b"\r\n"
        end = b"expect: 100-continue\r\n\r\n" if self.expects else b"\r\n"
        return b"".join((self.before, authority, framing, self.after.replace(INSTANCE, authority), end))


class Fields(NamedTuple):
    """What was read of a request's fields.

    Attributes:
        lines: those to pass on, as lines of a head; with `INSTANCE`.
        prefix: path below which the client sees the instance.
        length: the body's length as it was told.
        chunked: whether the body comes in chunks.
        expects: whether the client waits for 100 (Continue).
        upgrades: whether it offers another protocol.
    """

    lines: bytes
    prefix: bytes
    length: int | None
    chunked: bool
    expects: bool
    upgrades: bool


def read_request(
    scope: Mapping[str, Any], target: Target, trusted: TrustedProxies, *, strip_authorization: bool
) -> RequestHead:
    """Read the head of a request, and make the one for an instance.

    Args:
        scope: the ASGI scope, of type `http`.
        target: where it is bound for.
        trusted: whose `X-Forwarded-*` is believed.
        strip_authorization: whether `Authorization` is for the hub, so that no instance may see it.

    Raises:
        BadProxyRequest: it is not valid, or its framing is open to doubt.
        MethodRefused: the method is not passed on.
    """
    method: str = scope["method"]
    if not _METHOD.fullmatch(method):
        raise BadProxyRequest("the method is none")
    if method in {"CONNECT", "TRACE"}:
        raise MethodRefused(f"{method} is not passed on to instances")
    fields = read_fields(scope, target, trusted, strip_authorization=strip_authorization)
    length = fields.length
    if fields.upgrades and (length or fields.chunked):
        # Another protocol is never taken up, but a server's parser may stop at the head already, as if it were: it
        # would take the body for the next request.
        raise BadProxyRequest("a request with a body can't offer another protocol")
    if length is None and not fields.chunked and method in _WITH_BODY:
        length = 0  # some servers refuse these without it (411)
    return RequestHead(
        method=method,
        repeatable=method in _REPEATABLE,
        prefix=fields.prefix,
        length=length,
        chunked=fields.chunked,
        expects=fields.expects and bool(length or fields.chunked) and scope.get("http_version") != "1.0",
        last=fields.upgrades,
        before=b"%b %b%b HTTP/1.1\r\nhost: " % (method.encode(), target.path or b"/", target.query),
        after=fields.lines,
    )


def read_fields(
    scope: Mapping[str, Any], target: Target, trusted: TrustedProxies, *, strip_authorization: bool
) -> Fields:
    """Read the fields of a request, of which those are kept that are the instance's to see; as `read_request`."""
    if scope.get("http_version") not in _VERSIONS:
        # A first line without a version is a whole request in HTTP/0.9, though some parsers read on.
        raise BadProxyRequest("the request's version is none that is passed on")
    peer = (scope.get("client") or ("",))[0]
    kept: list[tuple[bytes, bytes]] = []
    special: list[tuple[bytes, bytes]] = []
    for name, value in scope["headers"]:
        if not VALUE.fullmatch(value):
            raise BadProxyRequest("a header field's value has control characters")
        name = name.lower()  # noqa: PLW2901 - the name as it is compared
        if name in _SPECIAL:
            special.append((name, value))
        elif NAME.fullmatch(name):
            kept.append((name, value))
        elif not TOKEN.fullmatch(name):
            raise BadProxyRequest("a header field's name has characters that can't stand there")
    told: dict[bytes, bytes] | None = None
    host = b""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    named: set[bytes] = set()
    expects = upgrades = False
    for name, value in special:
        match name:
            case b"host":
                if host or not is_host(value):
                    raise BadProxyRequest("there are several `Host` fields, or it names no host")
                host = value
            case b"content-length":
                lengths.append(value)
            case b"transfer-encoding":
                codings.append(value)
            case b"connection":
                named.update(part.strip().lower() for part in value.split(b","))
            case b"expect":
                expects = value.strip().lower() == b"100-continue"
            case b"authorization" if not strip_authorization:
                kept.append((name, value))
            case b"upgrade":
                upgrades = True
            case _ if name in FIELDS and peer in trusted:
                told = told or {}
                # With a body in chunks only the first: servers put the fields of its trailer, which the trusted peer
                # may only have passed on, behind those of the head.
                if name not in told:
                    told[name] = value
                elif not codings and name == FIELDS[0]:
                    told[name] += b", " + value
            case _:
                pass
    if named:
        kept = [(name, value) for name, value in kept if name not in named]
    if not target.prefix:
        kept = [(name, own_origin(value, host)) if name in _ORIGINS else (name, value) for name, value in kept]
    if not host and scope.get("http_version") == "1.1":
        raise BadProxyRequest("there is no `Host` field")
    length, chunked = _framing(scope, lengths, codings)
    prefix, ours = forwarded(peer, scope.get("scheme", "http"), host, target.prefix, told)
    lines = b"".join([*(b"%b: %b\r\n" % pair for pair in kept), ours])
    return Fields(lines, prefix, length, chunked, expects, upgrades)


def own_origin(value: bytes, host: bytes) -> bytes:
    """Tell the instance of its own pages on its virtual host by its own authority, as `Host` does.

    Servers compare the two: they refuse what a page of another origin sends.
    """
    scheme, mark, rest = value.partition(b"://")
    authority, slash, path = rest.partition(b"/")
    if not mark or not host or authority.lower() != host.lower():
        return value
    return b"".join((b"http://", INSTANCE, slash, path)) if scheme else value


def _framing(scope: Mapping[str, Any], lengths: Iterable[bytes], codings: Iterable[bytes]) -> tuple[int | None, bool]:
    """Decide how the body is framed. What two servers may read differently is refused."""
    lengths, codings = list(lengths), list(codings)
    version: str = scope.get("http_version", "1.1")
    if codings:
        if lengths or version == "1.0" or [coding.strip().lower() for coding in codings] != [b"chunked"]:
            raise BadProxyRequest("the body's framing is ambiguous", hint="send Content-Length or chunked, not both")
        return None, True
    if lengths:
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0].strip()):
            raise BadProxyRequest("there are several `Content-Length` fields, or it is no number")
        return int(lengths[0]), False
    # From HTTP/2 on a body needs no field: whether there is one, shows.
    return None, version[0] not in "01" and scope.get("method") not in {"GET", "HEAD"}
