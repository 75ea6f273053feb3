"""What a connection answers by itself, in the form of the application's problems."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

from hub.http.security_headers import API


@dataclass(frozen=True, slots=True)
class EarlyAnswer:
    """A problem that is answered before there is a request for the application.

    Attributes:
        status: the status.
        code: stable name of the kind of problem.
        detail: what is wrong.
        hint: what can be done about it.
    """

    status: HTTPStatus
    code: str
    detail: str
    hint: str = ""

    def write(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return it as it goes over the connection, after which that is closed.

        Args:
            default_headers: headers that stand in every answer.
        """
        problem = {
            "type": f"urn:modhub:problem:{self.code}",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "hint": self.hint,
            "code": self.code,
        }
        body = json.dumps(problem).encode()
        headers = [
            *default_headers,
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in API.items()),
            (b"connection", b"close"),
        ]
        if self.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
            headers.append((b"retry-after", b"1"))
        status = f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n".encode()
        return status + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n" + body


MALFORMED = EarlyAnswer(HTTPStatus.BAD_REQUEST, "malformed-request", "this is no HTTP request")
SLOW = EarlyAnswer(HTTPStatus.REQUEST_TIMEOUT, "request-timeout", "the request's head did not arrive in time")
CROWDED = EarlyAnswer(
    HTTPStatus.SERVICE_UNAVAILABLE, "too-many-connections", "too many connections are open", "try again soon"
)


def too_long(max_bytes: int, max_headers: int) -> EarlyAnswer:
    """Return the answer to a head that is too long.

    Args:
        max_bytes: bytes that it may have.
        max_headers: headers that it may have.
    """
    return EarlyAnswer(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head-too-large",
        f"a request's head may have {max_bytes} bytes and {max_headers} headers",
        "send less; the first of both limits is the hub's `max_header_bytes`",
    )


def too_many_pipelined() -> EarlyAnswer:
    """Return the answer to a client that does not wait for answers."""
    return EarlyAnswer(
        HTTPStatus.TOO_MANY_REQUESTS, "too-many-pipelined", "too many requests were sent ahead of their answers"
    )
