"""The application in a host's own: mounted, beside a hub on the same loop or in a thread, and its end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount

from hub import AsyncHub, Hub
from hub.http import HttpConfig, Role, create_app
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.http.serving import Served, bearer, tokens
from tests.hub.observer import Observer


def drive(served: Served, root: str = "") -> None:
    """The main job, over HTTP, with the events of it."""
    page = served.get(f"{root}/hub/events?follow=false").json()
    assert served.post(f"{root}/hub/modules/tenant/provision").json()["state"] == "provisioned"
    accepted = served.post(f"{root}/hub/modules/tenant/hibernate?wait=false")
    assert accepted.headers["location"].startswith(f"{root}/hub/operations/")
    assert served.get(accepted.headers["location"]).status == 200
    last_id = f"{page['run_id']}-{page['last']}"
    with served.connect() as connection:
        head = f"GET {root}/hub/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {last_id}\r\n\r\n"
        connection.sendall(head.encode())
        told = b""
        while b'"to_state":"hibernated"' not in told:
            told += connection.recv(65536)


def test_mounted_in_a_hosts_application(make_hub: MakeHub) -> None:
    """Below a path of a host's application everything works, and every address that it gives is below that path."""
    app = create_app(make_hub())
    served = Served(Starlette(routes=[Mount("/x", app)]), app).start()
    try:
        drive(served, "/x")
        assert served.get("/x/openapi.json").json()["servers"] == [{"url": "/x"}]
        assert served.get("/x/").status == 200
        assert b'"../dashboard/' in served.get("/x/modules/tenant").body
        assert served.get("/x/dashboard/main.js").headers["content-type"].startswith("text/javascript")
        assert served.get("/x/hub/proxy/tenant/").status != 404
        assert served.get("/hub/status").status == 404
        assert served.get("/x/hub/status", headers={"Host": "evil.example"}).status == 403
    finally:
        served.stop()


def test_a_hosts_lifespan_can_hold_it(make_hub: MakeHub) -> None:
    """A host that enters the application's lifespan in its own has nothing of it left afterwards."""
    app = create_app(make_hub())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with app.router.lifespan_context(app):
            yield

    served = Served(Starlette(routes=[Mount("/x", app)], lifespan=lifespan), app).start()
    drive(served, "/x")
    served.stop()
    assert app.state.service.feed._runner.done()


def test_beside_a_hub_on_the_same_loop(tmp_path: Path) -> None:
    """With an `AsyncHub` the application runs on the hub's own loop."""

    @asynccontextmanager
    async def lifespan(host: Starlette) -> AsyncGenerator[None]:
        options = {"kinds": [tiny_kind()], "default_kind": "tiny"}
        async with AsyncHub(tmp_path / "data", f"file://{tmp_path}/backend", **options) as hub:  # type: ignore[arg-type] # of HubOptions
            app = create_app(hub, HttpConfig())
            host.router.routes.append(Mount("/hub-here", app))
            host.state.app = app
            async with app.router.lifespan_context(app):
                yield

    class Late:
        """Stands for the application, which is made when the hub is."""

        @property
        def state(self) -> object:
            return host.state.app.state

    host = Starlette(lifespan=lifespan)
    served = Served(host, Late()).start()
    try:
        drive(served, "/hub-here")
        assert served.get("/hub-here/health").body == b"OK!"
    finally:
        served.stop()


def test_before_the_hub_runs(tmp_path: Path) -> None:
    """An application of a hub that was not entered yet says that it is not ready, and is when the hub is."""
    hub = Hub(tmp_path / "data", f"file://{tmp_path}/backend")
    served = Served(create_app(hub)).start()
    try:
        assert served.get("/health").json()["code"] == "not-ready"
        assert served.get("/hub/status").json()["code"] == "hub-closed"
        assert served.get("/hub/events").json()["code"] == "hub-closed"
        assert served.get("/hub/proxy/tenant/").json()["code"] == "hub-closed"
        with hub:
            assert served.get("/health").status == 200
            with served.events() as stream:
                assert stream.take(lambda frame: True)[0].event == "hello"
    finally:
        served.stop()


def test_a_request_to_an_instance_wakes_it_for_who_may(make_hub: MakeHub, events: Observer) -> None:
    """Through the proxy a sleeping module answers; the log names who woke it, and the instance is not told the token."""
    hub = make_hub(kinds=[tiny_kind("tiny", "--http")])
    hub.provision("tenant")
    hub.hibernate("tenant")
    served = Served(create_app(hub, HttpConfig(tokens=tokens()))).start()
    try:
        answer = served.get("/hub/proxy/tenant/any/path", headers=bearer(Role.OPERATE))
        assert (answer.status, answer.body) == (200, b"")
        assert "sandbox" in answer.headers["content-security-policy"]
        record = events.wait("operation.requested", operation="provision", asked_by="operate-er@127.0.0.1")
        assert record["module_id"] == "tenant"
        missing = served.get("/hub/proxy/nobody/", headers=bearer(Role.OPERATE))
        assert (missing.status, missing.json()["code"]) == (404, "module-not-found")
        assert missing.headers["cache-control"] == "no-store"
    finally:
        served.stop()
    off = Served(create_app(hub, HttpConfig(proxy=False))).start()
    try:
        assert off.get("/hub/proxy/tenant/").json()["code"] == "not-found"
    finally:
        off.stop()


def test_the_end_of_the_application_ends_its_tasks(make_hub: MakeHub) -> None:
    """Operations that nobody waits for go on in the hub when the application ends; nothing of the application does."""
    hub = make_hub(kinds=[tiny_kind("deaf", "--deaf", start_timeout=1.0)], default_kind="deaf")
    app = create_app(hub)
    served = Served(app).start()
    op_id = served.post("/hub/modules/tenant/provision?wait=false").json()["op_id"]
    served.stop()
    assert not app.state.service._tasks
    assert hub.operation(op_id).status in {"running", "failed"}


def test_importing_the_configuration_imports_no_framework() -> None:
    """`import hub` and the configuration of its HTTP side work without the extra."""
    heavy = "{'fastapi', 'starlette', 'uvicorn', 'pydantic', 'prometheus_client'}"
    code = f"import sys, hub, hub.http.config, hub.http; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_application_can_be_made_off_the_loop() -> None:
    """Making it starts nothing, and needs no running loop."""
    app = create_app(Hub("/nowhere", "file:///nowhere"))

    async def close() -> None:
        await app.state.service.close()

    asyncio.run(close())
