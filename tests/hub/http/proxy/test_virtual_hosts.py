"""Virtual hosts: `{id}.localhost` leads to the module's instance and to nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from hub import AsyncHub
from hub.http import create_app
from hub.http.config import HttpConfig, Role, Token
from tests.hub.http.proxy.served import Answer, Served, raw_kind, say, serving

pytestmark = pytest.mark.e2e

SOCKETS = Path(__file__).with_name("websocket_instance.py")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The hub's own application and server, without tokens; `m` and `n` are raw instances, `w` speaks WebSocket."""
    kinds = [raw_kind(), raw_kind("sockets", SOCKETS)]
    with serving(tmp_path_factory.mktemp("whole"), HttpConfig(port=0), whole=True, kinds=kinds) as served:
        served.provision("m")
        served.provision("n")
        served.provision("w", "sockets")
        served.provision("Upper")
        yield served


def ask(served: Served, host: str, path: str = "/", *fields: str, method: str = "GET") -> Answer:
    with served.client() as client:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]
        if method == "POST":
            lines.append("Content-Length: 0")
        client.send("\r\n".join([*lines, "", ""]).encode())
        return client.answer(method)


def fields_of(answer: Answer) -> dict[str, str]:
    return dict(answer.json()["headers"])


@pytest.mark.parametrize(
    "path", ["/", "/hub/status", "/hub/proxy/n/", "//x/../%2F?a=b%20c", "/health", "/openapi.json", "/dashboard/x.js"]
)
def test_all_of_it_is_the_instances(whole: Served, path: str) -> None:
    """Whatever the path, also those of the API and of other modules: it reaches the instance as it was written."""
    answer = ask(whole, f"m.localhost:{whole.port}", path)
    assert (answer.status, answer.json()["target"]) == (200, path)
    assert not answer.all("content-security-policy")
    assert fields_of(answer)["host"] == whole.run(whole.hub.module("m")).url.removeprefix("http://")  # type: ignore[union-attr]


def test_what_the_instance_is_told(whole: Served) -> None:
    """The virtual host as the forwarded one and no prefix; its own pages' origin as its own, others' as they are."""
    host = f"M.LocalHost:{whole.port}"
    got = fields_of(ask(whole, host, "/", f"Origin: http://m.localhost:{whole.port}", f"Referer: http://{host}/a?b"))
    own = f"http://{got['host']}"
    assert (got["origin"], got["referer"]) == (own, f"{own}/a?b")
    assert (got["x-forwarded-host"], got["x-forwarded-proto"]) == (host, "http")
    assert "x-forwarded-prefix" not in got
    assert fields_of(ask(whole, host, "/", "Referer: http://n.localhost/"))["referer"] == "http://n.localhost/"
    below = fields_of(
        ask(whole, f"localhost:{whole.port}", "/hub/proxy/m/", f"Referer: http://localhost:{whole.port}/")
    )
    assert below["referer"] == f"http://localhost:{whole.port}/"


def test_the_answer_stays_at_the_virtual_host(whole: Served) -> None:
    """Places lead to the same host, cookies are for it alone, and nothing speaks for more than its origin."""
    authority = fields_of(ask(whole, "m.localhost"))["host"]
    told = (
        f"HTTP/1.1 302 Found\r\nLocation: http://{authority}//evil.test/x\r\nContent-Location: /y\r\n"
        "Set-Cookie: a=b; Path=/; Domain=localhost\r\nSet-Cookie: __Host-c=d; Path=/; Secure\r\n"
        'Clear-Site-Data: "*"\r\nStrict-Transport-Security: max-age=1\r\nAlt-Svc: h2=":1"\r\n'
        "Service-Worker-Allowed: /\r\nContent-Length: 0\r\n\r\n"
    )
    path = say(told.encode()).removeprefix("/hub/proxy/m")
    answer = ask(whole, "m.localhost", path)
    assert answer.all("location") == ["/.//evil.test/x"]
    assert answer.all("content-location") == ["/y"]
    assert answer.all("set-cookie") == ["a=b; Path=/", "__Host-c=d; Secure; Path=/"]
    assert answer.all("service-worker-allowed") == ["/"]
    for name in ("clear-site-data", "strict-transport-security", "alt-svc", "content-security-policy"):
        assert not answer.all(name)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("m.localhost.", 200),  # the same name, with its root
        ("nobody.localhost", 404),
        ("upper.localhost", 404),  # a host has no case, `Upper` has
        ("a.m.localhost", 400),
        (".localhost", 400),
        ("_.localhost", 400),
        ("m.localhost.evil.example", 403),
        ("mlocalhost", 403),
        ("m.evil.example", 403),
    ],
)
def test_which_host_is_which_module(whole: Served, host: str, status: int) -> None:
    """One label before the domain, in lower case; none of the others leads to the hub either."""
    answer = ask(whole, host, "/hub/status")
    assert answer.status == status
    if status != 200:
        assert answer.json()["code"] in {"module-not-found", "invalid-module-id", "forbidden"}
        assert answer.all("content-security-policy")


def test_ids_with_upper_case_are_reached_by_path(whole: Served) -> None:
    """For them there is no host."""
    assert ask(whole, "localhost", "/hub/proxy/Upper/x").json()["target"] == "/x"


NAVIGATION = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
HERE = "Origin: http://m.localhost:{port}"


@pytest.mark.parametrize(
    ("method", "fields", "allowed"),
    [
        ("GET", (), True),
        ("POST", (), True),  # a program
        ("GET", ("Sec-Fetch-Site: none",), True),
        ("GET", ("Sec-Fetch-Site: same-origin",), True),
        ("POST", (HERE, "Sec-Fetch-Site: same-origin"), True),
        ("POST", ("Origin: null", "Sec-Fetch-Site: same-origin"), True),  # a form of a page without referrer
        ("GET", NAVIGATION, True),
        ("POST", NAVIGATION, False),
        ("GET", (*NAVIGATION[:2], "Sec-Fetch-Dest: iframe"), False),
        ("GET", ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"), False),
        ("GET", ("Sec-Fetch-Site: same-site",), False),
        ("GET", ("Origin: http://n.localhost:{port}",), False),
        ("GET", ("Origin: http://127.0.0.1:{port}",), False),  # the dashboard
        ("GET", ("Origin: http://localhost:{port}", "Sec-Fetch-Site: same-site"), False),
        ("GET", ("Origin: http://m.localhost:1",), False),  # another server by the same name
        ("GET", ("Origin: null",), False),
        ("OPTIONS", ("Origin: http://evil.example", "Access-Control-Request-Method: PUT"), False),
    ],
)
def test_whose_pages_may_do_what(whole: Served, method: str, fields: tuple[str, ...], allowed: bool) -> None:
    """Its own pages everything; others may lead there, and that is all."""
    told = [field.format(port=whole.port) for field in fields]
    answer = ask(whole, f"m.localhost:{whole.port}", "/x", *told, method=method)
    assert (answer.status == 200) is allowed
    assert answer.status in {200, 403}


@pytest.mark.parametrize("path", ["/hub/status", "/hub/proxy/n/", "/health", "/"])
@pytest.mark.parametrize("secured", [False, True])
def test_a_virtual_hosts_page_can_not_ask_the_hub(whole: Served, tmp_path: Path, path: str, secured: bool) -> None:
    """Neither the API nor another module by its path; with a token neither."""
    if not secured:
        assert ask(whole, f"localhost:{whole.port}", path, f"Origin: http://m.localhost:{whole.port}").status == 403
        return
    token = Token(name="ci", role=Role.OPERATE, sha256=hashlib.sha256(b"t").hexdigest())
    with serving(tmp_path, HttpConfig(port=0, tokens=(token,)), whole=True) as served:
        served.provision("n")
        authorized = "Authorization: Bearer t"
        assert ask(served, "localhost", path, authorized, "Origin: http://m.localhost").status == 403
        assert ask(served, "localhost", path, authorized, "Origin: http://elsewhere.example").status == 200


def test_with_tokens_the_role_rule_holds(tmp_path: Path) -> None:
    """As for the path: no token 401, a reader's 403; with the right one it passes, and the instance does not see it."""
    hashes = {role: hashlib.sha256(role.encode()).hexdigest() for role in Role}
    tokens = tuple(Token(name=f"a-{role}", role=role, sha256=sha256) for role, sha256 in hashes.items())
    with serving(tmp_path, HttpConfig(port=0, tokens=tokens, allowed_hosts=("hub.example",)), whole=True) as served:
        served.provision("m")
        assert ask(served, "m.localhost").status == 401
        assert ask(served, "m.localhost", "/", "Authorization: Bearer read").status == 403
        answer = ask(served, "m.localhost", "/", "Authorization: Bearer operate")
        assert answer.status == 200
        assert "authorization" not in fields_of(answer)
        assert ask(served, "m.elsewhere", "/", "Authorization: Bearer operate").status == 403


@pytest.mark.parametrize(
    ("config", "host", "status"),
    [
        ({"proxy_domain": ""}, "m.localhost", 403),
        ({"proxy_domain": "Lab.example"}, "m.lab.example", 200),
        ({"proxy_domain": "lab.example"}, "m.localhost", 403),
        ({"proxy_domain": "lab.example"}, "lab.example", 403),  # not the hub's own name by that alone
        ({"proxy": False}, "m.localhost", 404),
        ({"allowed_hosts": ("m.localhost",)}, "m.localhost", 404),  # then it is the hub's
    ],
)
def test_the_domain_is_configured(tmp_path: Path, config: dict[str, Any], host: str, status: int) -> None:
    """Below another domain, or none; a name that the hub itself goes by is no module's."""
    with serving(tmp_path, HttpConfig(port=0, **config), whole=True) as served:
        served.provision("m")
        assert ask(served, host, "/nothing/of/the/hub").status == status


def test_behind_a_trusted_proxy_that_ends_tls(tmp_path: Path) -> None:
    """Its word on the protocol decides what is the same origin."""
    with serving(tmp_path, HttpConfig(port=0, trusted_proxies=("127.0.0.1",)), whole=True) as served:
        served.provision("m")
        fields = ("X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https", "Origin: https://m.localhost")
        assert fields_of(ask(served, "m.localhost", "/", *fields))["x-forwarded-proto"] == "https"
        assert ask(served, "m.localhost", "/", *fields[:1], fields[2]).status == 403


def test_mounted_below_a_path_there_are_none(tmp_path: Path) -> None:
    """A page there would have the host's whole application in its origin: it is refused, the API too."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {
        "type": "http", "method": "GET", "path": "/x/hub/status", "root_path": "/x", "query_string": b"",
        "headers": [(b"host", b"m.localhost")], "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def main() -> None:
        async with AsyncHub(tmp_path / "data", f"file://{tmp_path}/backend") as hub:
            app = create_app(hub)
            async with app.router.lifespan_context(app):
                await app(scope, receive, send)

    asyncio.run(main())
    assert (sent[0]["status"], b"leads nowhere here" in sent[1]["body"]) == (404, True)


def dial(served: Served, host: str, path: str = "/describe", **fields: str) -> ClientConnection:
    sock = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    return connect(f"ws://{host}:{served.port}{path}", sock=sock, additional_headers=fields, proxy=None)


def test_websockets(whole: Served) -> None:
    """Its own pages' pass, and it sees them as its own; any other page's are refused."""
    with dial(whole, "w.localhost", Origin=f"http://w.localhost:{whole.port}") as connection:
        path, *lines = str(connection.recv(5)).splitlines()
        seen = dict(line.split(": ", 1) for line in lines)
        assert path == "/describe"
        assert seen["origin"] == f"http://{seen['host']}"
        assert seen["x-forwarded-host"] == f"w.localhost:{whole.port}"
        assert connection.response is not None
        assert connection.response.headers["Set-Cookie"] == "a=b; Path=/"
    for origin in (f"http://m.localhost:{whole.port}", f"http://127.0.0.1:{whole.port}", "null"):
        with pytest.raises(InvalidStatus, match="403"):
            dial(whole, "w.localhost", Origin=origin)
