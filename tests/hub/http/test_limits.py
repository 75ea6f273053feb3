"""What one client can take of the hub, and what becomes of a defect."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hub.errors import (
    BackendError,
    BudgetExceeded,
    HubClosed,
    LeaseHeld,
    ModhubError,
    ModuleBusy,
    OperationTimeout,
    PortsExhausted,
)
from hub.events import EventBus
from hub.http.problem import ERRORS, REFUSALS, Refused, kind_of, problem_of, response_of
from hub.http.refusals import RefusalLog
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.http.conftest import Serve
from tests.hub.http.serving import Served, listener, wait_until
from tests.hub.observer import Observer

BULK = '{"operation": "wake", "module_ids": ["nobody"]}'


def exchange(served: Served, *parts: bytes) -> bytes:
    """Send a request in parts, and return all that comes until the server closes the connection or has answered."""
    with served.connect() as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while b"\r\n\r\n" not in answer and (data := connection.recv(65536)):
            answer += data
    return answer


def head(*fields: str, path: str = "/hub/bulk") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_body_that_says_it_is_too_long(serve: Serve) -> None:
    """It is refused before any of it has come."""
    assert exchange(serve(max_body_bytes=1000), head("Content-Length: 1001")).startswith(b"HTTP/1.1 413")


def test_a_chunked_body_that_becomes_too_long(serve: Serve) -> None:
    """A body whose length nobody said is counted as it comes; the connection ends with the refusal."""
    served = serve(max_body_bytes=1000)
    chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
    answer = exchange(served, head("Transfer-Encoding: chunked"), chunk, chunk, chunk)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


def test_a_body_as_long_as_allowed(serve: Serve) -> None:
    """Exactly the limit is no refusal, in chunks or not."""
    served = serve(max_body_bytes=len(BULK))
    assert served.request("POST", "/hub/bulk", json.loads(BULK)).status == 200
    body = f"{len(BULK):x}\r\n{BULK}\r\n0\r\n\r\n".encode()
    assert exchange(served, head("Transfer-Encoding: chunked"), body).startswith(b"HTTP/1.1 200")
    assert served.request("POST", "/hub/bulk", (BULK + " ").encode()).status == 413


def test_a_body_that_does_not_come(serve: Serve) -> None:
    """Who pauses in a body for too long is refused and cut off; nothing waits for them."""
    served = serve(body_timeout=0.2)
    for fields in (["Content-Length: 50"], ["Transfer-Encoding: chunked"]):
        answer = exchange(served, head(*fields))
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"request-timeout" in answer or b"connection: close" in answer.lower()


def test_a_body_that_trickles(serve: Serve) -> None:
    """A byte now and then buys no time without end: a request at work is one of few."""
    served = serve(body_timeout=0.2)
    with served.connect() as connection:
        connection.sendall(head("Content-Length: 1000"))
        connection.settimeout(0.05)
        began, answer = time.monotonic(), b""
        while not answer and time.monotonic() - began < 5:
            connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_body_that_nobody_wants_is_not_waited_for(serve: Serve) -> None:
    """A call without a body answers also where one was announced."""
    served = serve()
    answer = exchange(served, head("Content-Length: 50", path="/hub/modules/nobody/wake"))
    assert answer.startswith(b"HTTP/1.1 404")


def test_too_many_requests_at_one_time(make_hub: MakeHub, serve: Serve) -> None:
    """One too many is refused with when to come back; health is told all the same, and the place is given back."""
    hub = make_hub(kinds=[tiny_kind("deaf", "--deaf", start_timeout=3.0)], default_kind="deaf")
    served = serve(hub, max_requests=1)
    with served.connect() as connection:
        connection.sendall(
            b"POST /hub/modules/tenant/provision HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        )
        wait_until(lambda: served.get("/hub/whoami").status == 503)
        refused = served.get("/hub/whoami")
        assert (refused.json()["code"], refused.headers["retry-after"]) == ("overloaded", "1")
        assert served.get("/health").status == 200
        assert connection.recv(65536).startswith(b"HTTP/1.1 502")
    assert served.get("/hub/whoami").status == 200


def test_a_client_that_does_not_read_its_answer(serve: Serve) -> None:
    """It loses its connection after `send_timeout`, and its place is given back; the hub does not wait for it."""
    served = serve(send_timeout=0.3, max_requests=1)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 1_000_000

    async def large(request: Request) -> Response:
        return StreamingResponse(pieces())

    served.app.router.routes.insert(0, Route("/large", large))
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: served.get("/hub/whoami").status == 503)
        wait_until(lambda: served.get("/hub/whoami").status == 200)


def test_a_defect_tells_the_client_nothing_and_the_log_all(serve: Serve, events: Observer) -> None:
    """An exception that nobody expected is a problem without its text; the log has it with its traceback."""
    served = serve()

    async def broken(request: Request) -> Response:
        raise RuntimeError("the secret of the hub")

    served.app.router.routes.insert(0, Route("/broken", broken))
    answer = served.get("/broken")
    assert (answer.status, answer.json()["code"]) == (500, "internal-error")
    assert b"secret" not in answer.body
    assert answer.headers["content-security-policy"]
    record = events.wait("http.failed", path="/broken")
    assert "the secret of the hub" in record["error"]
    assert "in broken" in record["traceback"]


def test_every_error_has_its_answer() -> None:
    """Each error of the hub and its proxy has a row of its own in the table, and codes of errors and refusals are never the same."""
    classes = [ModhubError]
    for cls in classes:
        classes += [sub for sub in cls.__subclasses__() if sub.__module__ in {"hub.errors", "hub.http.proxy.errors"}]
    assert set(classes) == set(ERRORS)
    assert not {cls.code for cls in classes} & REFUSALS.keys()
    assert all(400 <= kind.status < 600 and kind.title for kind in [*ERRORS.values(), *REFUSALS.values()])


@pytest.mark.parametrize(
    ("error", "status", "retry_after", "extras"),
    [
        (BudgetExceeded("x", budget="disk", retry_after_s=2.2), 503, "3", {"budget": "disk", "retry_after_s": 2.2}),
        (LeaseHeld("x", retry_after_s=0.0), 409, "1", {"retry_after_s": 0.0}),
        (ModuleBusy("x"), 429, "1", {"retry_after_s": 1.0}),
        (HubClosed("x"), 503, "1", {"retry_after_s": 1.0}),
        (PortsExhausted("x"), 503, "1", {"retry_after_s": 1.0}),
        (BackendError("x"), 502, None, {}),
        (BackendError("x", retry_after_s=9), 503, "9", {"retry_after_s": 9}),
        (OperationTimeout("x", op_id="1", started=False), 504, None, {"op_id": "1", "started": False}),
        (Refused("forbidden", "x", headers={"allow": "GET"}, where="here"), 403, None, {"where": "here"}),
    ],
    ids=repr,
)
def test_what_a_problem_carries(
    error: ModhubError | Refused, status: int, retry_after: str | None, extras: dict[str, Any]
) -> None:
    """A problem has what its error knows beyond the message, and `Retry-After` in whole seconds where that is known."""
    response = response_of(error)
    problem = json.loads(bytes(response.body))
    assert response.status_code == problem["status"] == status
    assert response.headers.get("retry-after") == retry_after
    common = {"type", "title", "status", "detail", "hint", "code"}
    assert {key: value for key, value in problem.items() if key not in common} == extras


def test_a_start_without_a_free_port_is_no_failure_of_the_process(make_hub: MakeHub, serve: Serve) -> None:
    """That the range of ports is used up is answered as a budget is: 503, and when to ask again."""
    with listener() as free:
        port = free.getsockname()[1]
    served = serve(make_hub(ports=(port, port)))
    assert served.post("/hub/modules/first/provision").status == 200
    refused = served.post("/hub/modules/second/provision")
    assert (refused.status, refused.json()["code"]) == (503, "ports-exhausted")
    assert refused.headers["retry-after"] == "1"
    assert f"{port}-{port}" in refused.json()["detail"]


def test_an_error_that_is_not_listed_is_answered_as_its_base() -> None:
    """A plugin's own error of a known kind has that kind's status."""

    class Special(BudgetExceeded):
        code = "special"

    assert kind_of(Special("x", budget="b", retry_after_s=1)) == ERRORS[BudgetExceeded]
    assert problem_of(Special("x", budget="b", retry_after_s=1))["type"] == "urn:modhub:problem:special"


def test_refusals_do_not_fill_the_log(events: Observer) -> None:
    """At most twenty are written in ten seconds; the first one after that tells how many were left out."""
    now = 0.0
    log = RefusalLog(EventBus(), lambda: now)

    def refuse() -> None:
        log.write(method="GET", path="/" + "x" * 500, status=401, code="c", client="a", asked_by=None)

    for _ in range(50):
        refuse()
    assert len(events.all("http.refused")) == 20
    now = 11.0
    refuse()
    assert events.all("http.refused")[-1]["suppressed"] == 30
    assert max(len(record["path"]) for record in events.all("http.refused")) == 200


@pytest.mark.parametrize("body", [b"[" * 500_000, b'{"kind": "\\ud800"}', b'{"kind": "\xff"}', b"nul", b"\x00", b"NaN"])
def test_bodies_that_break_parsers(serve: Serve, body: bytes) -> None:
    """Whatever stands in a body, the answer is a problem of the client's and never a defect."""
    answer = serve().request("POST", "/hub/modules/tenant/provision", body, {"Content-Type": "application/json"})
    assert (answer.status, answer.json()["code"]) == (400, "invalid-request")


def test_what_was_sent_does_not_come_back(serve: Serve) -> None:
    """A body that can't be used is not repeated in the problem: it may hold what is secret."""
    served = serve()
    answer = served.post("/hub/bulk", {"operation": "my-secret", "module_ids": "my-secret", "my-secret-key": 1})
    assert answer.status == 400
    assert b'my-secret"' not in answer.body
    assert {error["where"] for error in answer.json()["errors"]} >= {"body.operation", "body.module_ids"}
