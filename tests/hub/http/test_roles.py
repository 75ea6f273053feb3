"""What each role may do, for every route that there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute

from hub import Hub
from hub.http import HttpConfig, Role, create_app
from hub.http.app import CALLS
from hub.http.auth import may
from hub.http.calls import ROLE_KEY
from tests.hub.http.serving import Served, bearer, tokens

CALLERS: list[Role | None] = [None, *Role]
HERE = "127.0.0.1:8558"


def calls() -> Iterator[tuple[str, str, str]]:
    """Every method, path and role of the application's routes."""
    app = create_app(Hub("/nowhere", "file:///nowhere"), HttpConfig(tokens=tokens()))
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                yield method, route.path, (route.openapi_extra or {})[ROLE_KEY]


ROUTES = sorted(calls())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    with Hub(folder / "data", f"file://{folder / 'backend'}") as hub:
        served = Served(create_app(hub, HttpConfig(tokens=tokens()))).start()
        yield served
        served.stop()


def test_there_are_routes() -> None:
    """The list that the tests below go through is the whole API."""
    assert len(ROUTES) == len(CALLS)
    assert {role for _, _, role in ROUTES} == {"none", *Role}
    destroying = [path for _, path, role in ROUTES if role == Role.OBLITERATE]
    assert destroying == ["/hub/modules/{module_id}"]


@pytest.mark.parametrize("caller", CALLERS, ids=str)
@pytest.mark.parametrize(("method", "path", "role"), ROUTES, ids=str)
def test_roles(guarded: Served, method: str, path: str, role: str, caller: Role | None) -> None:
    """Each call is refused to who has no token, or one whose role is not enough, and to nobody else."""
    address = path.format(module_id="some-module", op_id="0") + ("?follow=false" if path == "/hub/events" else "")
    body = {"operation": "wake", "module_ids": ["some-module"]} if path == "/hub/bulk" else None
    headers = bearer(caller) if caller else {}
    answer = guarded.request(method, address, body, headers=headers)
    if role != "none" and caller is None:
        assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    elif role != "none" and caller is not None and not may(caller, Role(role)):
        assert (answer.status, answer.json()["code"]) == (403, "forbidden")
    else:
        assert answer.status not in {401, 403, 500}


@pytest.mark.parametrize("caller", CALLERS, ids=str)
def test_the_proxy_needs_its_role(guarded: Served, caller: Role | None) -> None:
    """A request through the proxy needs `proxy_role`, and wakes nothing without it."""
    answer = guarded.get("/hub/proxy/nobody/", headers=bearer(caller) if caller else {})
    assert answer.status == {None: 401, Role.READ: 403}.get(caller, 404)
    assert answer.headers["content-security-policy"]


def test_with_tokens_other_origins_are_no_danger(guarded: Served) -> None:
    """With tokens the name and the origin do not matter: a browser sends no bearer token of its own accord."""
    headers = {"Host": "anything.example", "Origin": "https://elsewhere.example", **bearer(Role.READ)}
    answer = guarded.get("/hub/whoami", headers=headers)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = guarded.request("OPTIONS", "/hub/modules/x", headers={"Origin": "https://elsewhere.example"})
    assert preflight.status == 405
