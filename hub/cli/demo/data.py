"""How the demo writes and reads a module's data: through the module's own port, in its own protocol."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

_TIMEOUT_S = 10.0


class DataClient(Protocol):
    """Speaks to one kind of module. Raises `OSError` where nothing answers or the answer is wrong."""

    @property
    def how(self) -> str:
        """How it writes, for people."""
        ...

    def write(self, port: int, key: str, value: bytes) -> None:
        """Store a value."""
        ...

    def read(self, port: int, key: str) -> bytes | None:
        """Return a value; `None` where there is none."""
        ...


class StoreClient:
    """Speaks to the kind `store`, by HTTP."""

    how = "HTTP PUT"

    def write(self, port: int, key: str, value: bytes) -> None:
        """Store a value."""
        status, _ = self._request("PUT", port, key, value)
        if status not in {201, 204}:
            raise OSError(f"PUT was answered {status}")

    def read(self, port: int, key: str) -> bytes | None:
        """Return a value; `None` where there is none."""
        status, body = self._request("GET", port, key, None)
        if status not in {200, 404}:
            raise OSError(f"GET was answered {status}")
        return body if status == 200 else None

    def _request(self, method: str, port: int, key: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, f"/blobs/{key}", body)
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise OSError(f"no proper answer: {error!r}") from error
        finally:
            connection.close()


class RedisClient:
    """Speaks to the kind `redis`, by as much of its protocol (RESP) as SET and GET need."""

    how = "SET"

    def write(self, port: int, key: str, value: bytes) -> None:
        """Store a value."""
        self._command(port, b"SET", key.encode(), value)

    def read(self, port: int, key: str) -> bytes | None:
        """Return a value; `None` where there is none."""
        return self._command(port, b"GET", key.encode())

    def _command(self, port: int, *words: bytes) -> bytes | None:
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as answer:
                line = answer.readline()
                if not line.endswith(b"\r\n") or line[:1] not in {b"+", b"$"}:
                    raise OSError(f"Redis answered {line.decode(errors='replace').strip()!r}")
                if line[:1] == b"+":
                    return line[1:-2]
                length = int(line[1:])
                return None if length < 0 else answer.read(length)


CLIENTS: Mapping[str, DataClient] = MappingProxyType({"store": StoreClient(), "redis": RedisClient()})
"""The kinds that the demo can be run with."""
