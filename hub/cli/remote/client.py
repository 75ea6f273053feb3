"""Requests to a hub, and its refusals as errors of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote, urlencode

import urllib3

from hub._version import __version__
from hub.cli.refusal import HubRefused, HubUnreachable
from hub.cli.remote.place import Place
from hub.errors import InvalidConfig

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0

_MAX_ANSWER = 256 * 1024 * 1024


class Client:
    """A connection to a hub. A context manager.

    Args:
        place: the hub.
        connect_timeout_s: seconds to wait for a connection.
        read_timeout_s: seconds to wait for each part of an answer.
    """

    def __init__(
        self, place: Place, *, connect_timeout_s: float = CONNECT_TIMEOUT_S, read_timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        self.url = place.url
        headers = {"User-Agent": f"modhub/{__version__}", "Accept": "application/json"}
        if place.token is not None:
            headers["Authorization"] = f"Bearer {place.token}"
        options: dict[str, Any] = {} if place.ca_file is None else {"ca_certs": str(place.ca_file)}
        if place.ca_file is not None and not place.ca_file.is_file():
            raise InvalidConfig(f"{place.ca_file} is no file of certificates")
        # No redirect is followed: the token is for this hub alone. Nothing is asked twice behind the caller's back.
        self._pool = urllib3.PoolManager(
            headers=headers,
            timeout=urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s),
            retries=False,
            **options,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.clear()

    def get(self, *path: str, **query: Any) -> Any:
        """Ask for something.

        Args:
            *path: the parts of the path; each is quoted.
            **query: parameters; `None` = left out, a list = several times.

        Returns:
            The answer's JSON.

        Raises:
            HubUnreachable: no hub answers there.
            HubRefused: it answers with a problem.
        """
        return self._call("GET", path, query)

    def post(self, *path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        """Ask for something to be done; as `get`."""
        return self._call("POST", path, query, body)

    def delete(self, *path: str, **query: Any) -> Any:
        """Ask for something to be destroyed; as `get`."""
        return self._call("DELETE", path, query)

    def stream(
        self, *path: str, headers: Mapping[str, str] | None = None, timeout_s: float, **query: Any
    ) -> urllib3.BaseHTTPResponse:
        """Ask for something that is sent as it comes.

        Args:
            *path: the parts of the path.
            headers: further headers.
            timeout_s: seconds without anything after which the connection counts as lost.
            **query: parameters.

        Returns:
            The answer, to be read and closed by the caller.

        Raises:
            ModhubError: as `get`.
        """
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=timeout_s)
        merged = {**self._pool.headers, **(headers or {}), "Accept": "text/event-stream"}
        response = self._send("GET", path, query, headers=merged, preload_content=False, timeout=timeout)
        if response.status >= 300:
            try:
                raise _problem(self.url, response)
            finally:
                response.close()
        return response

    def _call(
        self, method: str, path: tuple[str, ...], query: Mapping[str, Any], body: Mapping[str, Any] | None = None
    ) -> Any:
        options: dict[str, Any] = {} if body is None else {"json": body}
        response = self._send(method, path, query, **options)
        if response.status >= 300:
            raise _problem(self.url, response)
        return _json(self.url, response)

    def _send(
        self, method: str, path: tuple[str, ...], query: Mapping[str, Any], **options: Any
    ) -> urllib3.BaseHTTPResponse:
        url = "/".join([self.url, *(quote(part, safe="") for part in path)])
        given = {key: _text(value) for key, value in query.items() if value is not None and value != ()}
        if given:
            url += "?" + urlencode(given, doseq=True)
        try:
            return self._pool.request(method, url, redirect=False, **options)
        except urllib3.exceptions.SSLError as error:
            raise HubUnreachable(
                f"{self.url}: TLS fails: {error}",
                hint="--ca-file names the certificate to trust; for http, say http://",
            ) from error
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise HubUnreachable(
                f"no hub answers at {self.url}", hint="`modhub serve` starts one; --url or MODHUB_URL names another"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise HubUnreachable(
                f"the connection to {self.url} was lost: {error}", hint="ask `modhub status`"
            ) from error


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_text(part) for part in cast("list[Any]", value)] if isinstance(value, list | tuple) else value


def _json(url: str, response: urllib3.BaseHTTPResponse) -> Any:
    try:
        return json.loads(response.data)
    except ValueError as error:
        raise HubUnreachable(f"what answers at {url} is no hub", hint="--url or MODHUB_URL names another") from error


def _problem(url: str, response: urllib3.BaseHTTPResponse) -> HubRefused | HubUnreachable:
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return HubUnreachable(
            f"what answers at {url} is no hub: status {response.status}", hint="--url or MODHUB_URL names another"
        )
    problem = _json(url, response)
    if problem.get("code") == "unauthenticated":  # the hub's hint is for whoever writes requests
        problem["hint"] = "--token-file, MODHUB_TOKEN_FILE or MODHUB_TOKEN gives it; `modhub token` makes one"
    return HubRefused(problem)
