"""Who may do what, and from where: by the routes of the application itself, so that a new one is tested by itself."""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from hub.http import Role
from hub.http.auth import Authenticator
from hub.http.origin import Provenance, client_address, host_allowed, is_loopback, refusal
from hub.http.problem import Refused
from hub.http.proxy.forwarded import TrustedProxies
from tests.hub.conftest import MakeHub
from tests.hub.http.conftest import Serve
from tests.hub.http.serving import TOKENS, bearer, tokens
from tests.hub.observer import Observer

CALLERS: list[Role | None] = [None, *Role]
HERE = "127.0.0.1:8558"


def test_a_wrong_token_is_told_from_none(serve: Serve, events: Observer) -> None:
    """A token that is not known is refused as such, and stands neither in the answer nor in the log."""
    guarded = serve(tokens=tokens())
    answer = guarded.get("/hub/whoami", headers={"Authorization": "Bearer my-secret-that-is-wrong"})
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    record = events.wait("http.refused", code="unauthenticated", path="/hub/whoami")
    assert "my-secret" not in answer.body.decode() + repr(record)
    basic = guarded.get("/hub/whoami", headers={"Authorization": f"Basic {TOKENS[Role.READ]}"})
    assert basic.status == 401
    assert guarded.get("/hub/whoami", headers={"Authorization": f"bearer  {TOKENS[Role.READ]}"}).json() == {
        "name": "read-er",
        "role": "read",
        "authenticated": True,
    }
    assert guarded.get(f"/hub/whoami?token={TOKENS[Role.READ]}").status == 401


def test_all_tokens_are_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison takes constant time: by `hmac.compare_digest` on hashes, with every token, found or not."""
    compared: list[tuple[bytes, bytes]] = []
    genuine = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return genuine(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    authenticator = Authenticator(tokens())
    for token in [*TOKENS.values(), "wrong", "wröng"]:
        compared.clear()
        try:
            caller = authenticator.identify(f"Bearer {token}", "127.0.0.1")
            assert TOKENS[caller.role] == token
        except Refused:
            assert "wr" in token
        assert [len(one) for one, _ in compared] == [32] * len(tokens())


LOCAL = Provenance("POST", page=False, scheme="http", host=HERE)
NAVIGATION: dict[str, Any] = {"fetch_site": "cross-site", "fetch_mode": "navigate", "fetch_dest": "document"}


def provenance(**changes: Any) -> Provenance:
    return Provenance(**({name: getattr(LOCAL, name) for name in Provenance.__dataclass_fields__} | changes))


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),  # curl
        ({"host": "localhost:8558"}, True),
        ({"host": "LOCALHOST"}, True),
        ({"host": "[::1]:8558"}, True),
        ({"host": "127.8.9.1"}, True),
        ({"host": "hub.internal:8558"}, True),  # in allowed_hosts
        ({"host": "evil.example"}, False),  # DNS rebinding
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "localhost.evil.example"}, False),
        ({"host": "localhost@evil.example"}, False),
        ({"host": "10.0.0.7"}, False),
        ({"host": "0x7f.1"}, False),
        ({"host": "127.0.0.1:99999"}, False),
        ({"host": ""}, False),
        ({"host": None}, False),
        ({"origin": f"http://{HERE}"}, True),
        ({"origin": "null"}, False),  # a sandboxed frame, such as an instance's page
        ({"origin": ""}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://127.0.0.1:3000"}, False),  # another server on this machine
        ({"origin": "http://localhost:8558"}, False),  # another name, another origin
        ({"origin": "file://"}, False),
        ({"origin": "http://127.0.0.1:8558.evil.example"}, False),
        ({"fetch_site": "same-origin"}, True),
        ({"fetch_site": "none"}, True),  # typed by hand
        ({"fetch_site": "same-site"}, False),
        ({"fetch_site": "cross-site"}, False),  # a form, an image, a link
        ({"fetch_site": "anything-else"}, False),
        ({"method": "GET", "page": True, **NAVIGATION}, True),
        ({"method": "GET", "page": False, **NAVIGATION}, False),
        ({"method": "POST", "page": True, **NAVIGATION}, False),
        ({"method": "GET", "page": True, **NAVIGATION, "fetch_dest": "iframe"}, False),
        ({"method": "GET", "page": True, **NAVIGATION, "fetch_mode": "no-cors"}, False),
        ({"method": "GET", "page": True, **NAVIGATION, "host": "evil.example"}, False),
        ({"scheme": "https", "host": "localhost", "origin": "https://localhost"}, True),
        ({"scheme": "http", "host": "localhost", "origin": "http://localhost:80"}, True),
    ],
    ids=str,
)
def test_where_a_request_may_come_from(changes: dict[str, Any], allowed: bool) -> None:
    """Without tokens only this machine's programs, and the hub's own pages, may ask."""
    assert (refusal(provenance(**changes), ["hub.internal", "*"]) is None) is allowed


@pytest.mark.parametrize(
    ("host", "names", "allowed"),
    [
        ("hub.example", ["hub.example"], True),
        ("HUB.example:443", ["hub.EXAMPLE"], True),
        ("other.example", ["hub.example"], False),
        ("anything", ["*"], True),
        ("localhost", [], True),
        ("[fe80::1]:80", ["fe80::1"], True),
        ("a b", ["a b"], False),
    ],
)
def test_names_that_the_hub_goes_by(host: str, names: list[str], allowed: bool) -> None:
    """A `Host` is one of the configured names, or of loopback."""
    assert host_allowed(host, names, loopback=True) is allowed


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),  # a Unix socket
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("localhost", False),
        ("testclient", False),
    ],
)
def test_addresses_of_this_machine(address: str, loopback: bool) -> None:
    """Loopback is told by the address alone; what is no address is not."""
    assert is_loopback(address) is loopback


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("10.0.0.1", "1.2.3.4", [], "10.0.0.1"),
        ("10.0.0.1", "127.0.0.1", ["10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4", ["10.0.0.1"], "1.2.3.4"),
        ("10.0.0.1", "127.0.0.1, 1.2.3.4", ["10.0.0.0/8"], "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4, 10.0.0.9", ["10.0.0.0/8"], "1.2.3.4"),
        ("10.0.0.1", None, ["10.0.0.1"], "10.0.0.1"),
        ("", "1.2.3.4", ["10.0.0.1"], ""),
    ],
)
def test_forwarded_addresses(peer: str, forwarded: str | None, trusted: list[str], client: str) -> None:
    """`X-Forwarded-For` is believed of trusted proxies alone, and not beyond the first address that is not trusted."""
    assert client_address(peer, forwarded, TrustedProxies(trusted).__contains__) == client


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "Content-Type": "text/plain"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_other_sites_pages_can_destroy_nothing(
    make_hub: MakeHub, serve: Serve, events: Observer, headers: dict[str, str]
) -> None:
    """A page in a browser on the same machine gets nowhere: not by rebinding its name, a form, a frame or a link."""
    hub = make_hub()
    served = serve(hub)
    hub.provision("tenant")
    for method, path in [("DELETE", "/hub/modules/tenant"), ("POST", "/hub/modules/tenant/deprovision")]:
        answer = served.request(method, path, headers=headers)
        assert (answer.status, answer.json()["code"]) == (403, "forbidden")
    assert served.get("/hub/proxy/tenant/", headers=headers).status == 403
    assert hub.module("tenant").state == "provisioned"
    assert events.wait("http.refused", method="DELETE")["client"] == "127.0.0.1"


@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
)
def test_a_form_starts_no_operation(make_hub: MakeHub, serve: Serve, media_type: str) -> None:
    """A form is refused by its media type, whether it has fields or none: older browsers tell nothing of its origin."""
    hub = make_hub()
    served = serve(hub)
    hub.provision("tenant")
    for body in (b"", b"a=b"):
        answer = served.post("/hub/modules/tenant/hibernate", body, headers={"Content-Type": media_type})
        assert (answer.status, answer.json()["code"]) == (415, "unsupported-media-type")
    assert served.post("/hub/modules/tenant/hibernate").status == 200


def test_allowed_hosts_hold_with_tokens_too(serve: Serve) -> None:
    """Where `allowed_hosts` are configured, other names are refused also with a token."""
    served = serve(tokens=tokens(), allowed_hosts=("hub.example",))
    assert served.get("/hub/whoami", headers={"Host": "hub.example", **bearer(Role.READ)}).status == 200
    assert served.get("/hub/whoami", headers={"Host": "evil.example", **bearer(Role.READ)}).status == 403


def test_only_this_machine_without_tokens(make_hub: MakeHub, serve: Serve) -> None:
    """Without tokens a client elsewhere is refused, by the connection's address; a header does not change it."""
    hub = make_hub()
    served = serve(hub, trusted_proxies=("127.0.0.1",))
    assert served.get("/hub/whoami", headers={"X-Forwarded-For": "192.0.2.7"}).status == 403
    assert served.get("/hub/whoami", headers={"X-Forwarded-For": "127.0.0.1"}).status == 200
    assert serve(hub).get("/hub/whoami", headers={"X-Forwarded-For": "192.0.2.7"}).status == 200


def test_an_address_that_a_proxy_adds_in_a_line_of_its_own_is_heard(make_hub: MakeHub, serve: Serve) -> None:
    """A client can't write the address of this machine before what a trusted proxy says of it.

    Some proxies (HAProxy's `option forwardfor`) add a line of their own instead of appending to the client's.
    """
    served = serve(make_hub(), trusted_proxies=("127.0.0.1",))
    with served.connect() as connection:
        lines = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 192.0.2.7\r\n"
        connection.sendall(f"GET /hub/whoami HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 403 ")


def test_a_websocket_from_another_site_is_refused(serve: Serve) -> None:
    """A WebSocket through the proxy is looked at like a request, before it is accepted."""
    served = serve()
    head = (
        "GET /hub/proxy/tenant/ HTTP/1.1\r\nHost: {}\r\nOrigin: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    for host, origin in [("evil.example", "http://evil.example"), ("localhost", "null")]:
        with served.connect() as connection:
            connection.sendall(head.format(host, origin).encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("path", "policy"),
    [("/", "script-src 'self'"), ("/docs", "style-src 'self'"), ("/hub/whoami", "default-src 'none'")],
)
def test_security_headers(serve: Serve, path: str, policy: str) -> None:
    """Pages and answers have a strict policy, nothing inline is allowed, and nobody may frame or sniff them."""
    served = serve()
    headers = served.get(path).headers
    content = headers["content-security-policy"]
    assert policy in content
    assert "default-src 'none'" in content
    assert "unsafe" not in content
    assert "frame-ancestors 'none'" in content
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cache-control"] == ("no-store" if path == "/hub/whoami" else "no-cache")
    refused = served.get(path, headers={"Host": "evil.example"})
    assert refused.status == 403
    assert refused.headers["content-security-policy"]


def test_the_token_reaches_no_log_and_no_answer(serve: Serve, events: Observer) -> None:
    """Whatever is asked with a token, right or wrong, the token itself stands nowhere afterwards."""
    served = serve(tokens=tokens())
    secret = TOKENS[Role.READ]
    bodies = [
        served.request(method, path, headers=bearer(Role.READ)).body
        for method in ("GET", "POST", "DELETE", "PUT")
        for path in ("/hub/modules/tenant", "/hub/status", "/hub/modules/tenant/wake", "/nowhere")
    ]
    assert secret not in b"".join(bodies).decode()
    assert events.all("http.refused")
    assert secret not in repr(events.all("http.refused"))
