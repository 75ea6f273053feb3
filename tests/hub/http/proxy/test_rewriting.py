"""The pure decisions of the proxy: targets, forwarded fields, places and cookies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidConfig, ModhubError
from hub.http.proxy.answer_head import AnswerHead, place, rewrite
from hub.http.proxy.cookies import confine
from hub.http.proxy.errors import BadProxyRequest
from hub.http.proxy.forwarded import TrustedProxies, forwarded
from hub.http.proxy.request_head import HOP_BY_HOP, NAME, read_request
from hub.http.proxy.target import locate

PREFIX = b"/hub/proxy/m"
AUTHORITY = b"127.0.0.1:4000"
NOBODY = TrustedProxies(())


def scope(raw: bytes, root: str = "/hub/proxy", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "root_path": root,
        "raw_path": raw,
        "path": raw.decode("latin-1"),
        "query_string": b"",
        **more,
    }


@pytest.mark.parametrize(
    ("raw", "root", "prefix"),
    [
        (b"/hub/proxy/m/x", "/hub/proxy", b"/hub/proxy/m"),
        (b"/outer/hub/proxy/m/x", "/outer/hub/proxy", b"/outer/hub/proxy/m"),
        (b"/gr%C3%BC%C3%9Fe/hub/proxy/m/x", "/grüße/hub/proxy", b"/gr%C3%BC%C3%9Fe/hub/proxy/m"),
        # A server behind another one that has stripped /outer.
        (b"/hub/proxy/m/x", "/outer/hub/proxy", b"/outer/hub/proxy/m"),
    ],
)
def test_where_it_is_mounted_does_not_matter(raw: bytes, root: str, prefix: bytes) -> None:
    """The prefix is what the client sees, the path what follows the module's id."""
    target = locate(scope(raw, root), b"/hub/proxy")
    assert (target.module_id, target.prefix, target.path) == ("m", prefix, b"/x")


def test_a_server_need_not_tell_the_raw_path() -> None:
    """Then it is made of the decoded one."""
    without = scope(b"/hub/proxy/m/a b")
    del without["raw_path"]
    assert locate(without, b"/hub/proxy").path == b"/a%20b"


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_no_target_adds_to_the_head(path: bytes, query: bytes) -> None:
    """Whatever a server hands on, the request's first line has three parts and ends where it ends."""
    try:
        asked = scope(b"/hub/proxy/m/" + path, query_string=query)
        target = locate(asked, b"/hub/proxy")
        head = read_request(
            asked | {"method": "GET", "headers": [(b"host", b"a")]}, target, NOBODY, strip_authorization=False
        ).encode(AUTHORITY)
    except BadProxyRequest:
        return
    first, _, rest = head.partition(b"\r\n")
    assert first.split(b" ") == [b"GET", b"/" + path + (b"?" + query if query else b""), b"HTTP/1.1"]
    assert rest.startswith(b"host: " + AUTHORITY + b"\r\n")


_NAMES = st.sampled_from([*HOP_BY_HOP, b"host", b"content-length", b"cookie", b"x-a", b"x_a", b"accept"]) | st.binary(
    max_size=8
)


@given(st.lists(st.tuples(_NAMES, st.binary(max_size=12))), st.sampled_from(["GET", "POST", "X\r\nY", ""]))
def test_no_field_adds_to_the_head(fields: list[tuple[bytes, bytes]], method: str) -> None:
    """Whatever a server hands on, the head has one line for each field that passes, and one framing at the most."""
    asked = scope(b"/hub/proxy/m/x", method=method, headers=fields, http_version="1.1")
    try:
        request = read_request(asked, locate(asked, b"/hub/proxy"), NOBODY, strip_authorization=True)
    except ModhubError:
        return
    head = request.encode(AUTHORITY)
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n")
    lines = head[:-4].split(b"\r\n")[1:]
    names = [line.partition(b": ")[0] for line in lines]
    assert all(NAME.fullmatch(name) for name in names)
    assert names.count(b"host") == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert not set(names) & (HOP_BY_HOP - {b"transfer-encoding"})


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (b"/x?a#b", PREFIX + b"/x?a#b"),
        (b"/", PREFIX + b"/"),
        (b"http://127.0.0.1:4000/x", PREFIX + b"/x"),
        (b"HTTP://LOCALHOST:4000", PREFIX + b"/"),
        (b"https://127.0.0.1:4000?q", PREFIX + b"/?q"),
        (b"//127.0.0.1:4000/x", PREFIX + b"/x"),
        (b"http://127.0.0.1:4001/x", b"http://127.0.0.1:4001/x"),
        (b"http://127.0.0.1:4000@evil.test/", b"http://127.0.0.1:4000@evil.test/"),
        (b"//evil.test/x", b"//evil.test/x"),
        (b"http://evil.test/x", b"http://evil.test/x"),
        (b"x/y", b"x/y"),
        (b"?q", b"?q"),
        (b"", b""),
        (PREFIX + b"/x", PREFIX + b"/x"),
        (PREFIX, PREFIX),
        (PREFIX + b"2/x", PREFIX + PREFIX + b"2/x"),
    ],
)
def test_places_of_the_instance_are_below_the_prefix(told: bytes, expected: bytes) -> None:
    """Its own authority and absolute paths; what it has put there itself, relative and foreign ones stay."""
    assert place(told, PREFIX, AUTHORITY) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (b"a=b", b"a=b"),
        (b"a=b; Path=/; HttpOnly", b"a=b; HttpOnly; Path=/hub/proxy/m/"),
        (b"a=b;path=/x;DOMAIN=test;Secure", b"a=b;Secure; Path=/hub/proxy/m/x"),
        (b"a=b; Path=/x; Path=/", b"a=b; Path=/hub/proxy/m/"),
        (b"a=b; \tPath \t=/x; domain", b"a=b; Path=/hub/proxy/m/x"),
        (b"a=b; Path=x; Path", b"a=b"),
        (b"Path=/; Domain=test", b"Path=/"),
        (b"a=b; Path=/hub/proxy/m/x", b"a=b; Path=/hub/proxy/m/x"),
        (b"a=b; Path=/hub/proxy/m2", b"a=b; Path=/hub/proxy/m/hub/proxy/m2"),
        (b"a=Path=/; Max-Age=1", b"a=Path=/; Max-Age=1"),
    ],
)
def test_cookies_are_kept_to_their_module(told: bytes, expected: bytes) -> None:
    """No domain, and a path below the prefix."""
    assert confine(told, PREFIX) == expected


def test_each_cookie_is_confined() -> None:
    """There may be several; `Connection` can't hide the length of the body."""
    answer = AnswerHead(
        200, [(b"set-cookie", b"a=b; Path=/"), (b"set-cookie", b"c=d; Path=/"), (b"connection", b"content-length, x"),
              (b"content-length", b"1"), (b"x", b"y")]
    )  # fmt: skip
    kept = rewrite(answer, prefix=PREFIX, authority=AUTHORITY, sandbox=False)
    assert kept == [
        (b"set-cookie", b"a=b; Path=/hub/proxy/m/"),
        (b"set-cookie", b"c=d; Path=/hub/proxy/m/"),
        (b"content-length", b"1"),
    ]


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"])
def test_who_is_trusted(peer: str) -> None:
    """Addresses and networks; an IPv4 address in IPv6 clothes too."""
    assert peer in TrustedProxies(("10.0.0.0/8", "fd00::1"))
    assert peer not in TrustedProxies(("10.1.2.4", "fd00::2"))
    assert "" not in TrustedProxies(("10.0.0.0/8",))


def test_a_network_that_is_none() -> None:
    """It is refused when the proxy is made."""
    with pytest.raises(InvalidConfig, match="trusted_proxies"):
        TrustedProxies(("proxy.test",))


def test_what_a_trusted_proxy_tells_is_checked() -> None:
    """What can't be is passed over: the instance gets what is known here."""
    told = {
        b"x-forwarded-for": b"1.2.3.4",
        b"x-forwarded-proto": b"gopher",
        b"x-forwarded-host": b"a, b",
        b"x-forwarded-prefix": b"//evil.test",
    }
    prefix, lines = forwarded("10.0.0.1", "wss", b"hub.test", PREFIX, told)
    assert prefix == PREFIX
    assert lines.split(b"\r\n") == [
        b"x-forwarded-for: 1.2.3.4, 10.0.0.1",
        b"x-forwarded-proto: https",
        b"x-forwarded-host: hub.test",
        b"x-forwarded-prefix: /hub/proxy/m",
        b"",
    ]


def test_fields_of_a_trailer_are_not_believed() -> None:
    """A server may put them behind those of the head; of a body in chunks only the first field of a name counts."""
    asked = scope(b"/hub/proxy/m/x", method="POST", http_version="1.1", client=("10.0.0.1", 1))
    asked["headers"] = [
        (b"host", b"a"),
        (b"transfer-encoding", b"chunked"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"x-forwarded-for", b"6.6.6.6"),
    ]
    request = read_request(
        asked, locate(asked, b"/hub/proxy"), TrustedProxies(("10.0.0.1",)), strip_authorization=False
    )
    assert b"x-forwarded-for: 1.2.3.4, 10.0.0.1\r\n" in request.after
