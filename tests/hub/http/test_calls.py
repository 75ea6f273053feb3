"""The calls of the API on a real hub behind a real server."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from hub import Hub, State
from hub.http import Role
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.http.conftest import Serve
from tests.hub.http.serving import Served, bearer, tokens, wait_until
from tests.hub.observer import Observer


def test_a_module_lives_by_http_alone(serve: Serve) -> None:
    """Provision, hibernate, wake, deprovision and obliterate answer with the module, or with what was deleted."""
    served = serve()
    up = served.post("/hub/modules/tenant/provision", {"kind": "tiny"})
    assert (up.status, up.json()["state"], up.json()["kind"]) == (200, "provisioned", "tiny")
    assert up.headers["content-type"] == "application/json"
    assert served.get("/hub/modules/tenant").json()["port"] == up.json()["port"]
    assert served.post("/hub/modules/tenant/hibernate").json()["state"] == "hibernated"
    assert served.post("/hub/modules/tenant/wake").json()["state"] == "provisioned"
    assert served.post("/hub/modules/tenant/deprovision").json()["state"] == "unprovisioned"
    gone = served.request("DELETE", "/hub/modules/tenant")
    assert (gone.status, gone.json()["module_id"], gone.json()["remaining"]) == (200, "tenant", 0)
    assert gone.json()["blobs"] > 0


def test_problems_are_told_by_type(serve: Serve) -> None:
    """A failed call answers with a problem whose type, status and code are stable, and with what to do next."""
    served = serve()
    unknown = served.get("/hub/modules/nobody")
    assert unknown.status == 404
    assert unknown.headers["content-type"] == "application/problem+json"
    problem = unknown.json()
    assert problem["type"] == "urn:modhub:problem:module-not-found"
    assert problem["code"] == "module-not-found"
    assert problem["status"] == 404
    assert problem["hint"]
    bad = served.post("/hub/modules/-bad-/provision")
    assert (bad.status, bad.json()["code"]) == (400, "invalid-module-id")
    assert served.post("/hub/modules/tenant/provision", {"kind": "nothing"}).json()["code"] == "unknown-kind"
    assert served.post("/hub/modules/tenant/provision", {"color": "red"}).json()["code"] == "invalid-request"
    assert served.post("/hub/modules/tenant/provision", b"{").json()["code"] == "unsupported-media-type"
    json = {"Content-Type": "application/json"}
    assert served.post("/hub/modules/tenant/provision", b"{", headers=json).json()["code"] == "invalid-request"
    assert served.get("/hub/status?limit=0").json()["errors"][0]["where"] == "query.limit"
    assert served.get("/nothing/here").json()["code"] == "not-found"
    wrong = served.request("PATCH", "/hub/modules/tenant")
    assert (wrong.status, wrong.headers["allow"]) == (405, "DELETE, GET")
    assert served.get("/hub/operations/unknown").json()["code"] == "operation-not-found"


def test_an_instance_that_does_not_start_is_the_instances_failure(make_hub: MakeHub, serve: Serve) -> None:
    """A process that ends at once answers 502, with the last lines that it wrote; the state then is a conflict to wake."""
    served = serve(make_hub(kinds=[tiny_kind("broken", "--broken")], default_kind="broken"))
    failed = served.post("/hub/modules/tenant/provision")
    assert (failed.status, failed.json()["code"]) == (502, "provision-failed")
    assert "it is broken" in failed.json()["output"]


def test_pages_of_many_modules(make_hub: MakeHub, serve: Serve) -> None:
    """Status pages, filters, searches and sorts; the total counts what matches on all pages."""
    hub = make_hub()
    served = serve(hub)
    for name in ("alpha", "beta", "gamma"):
        hub.provision(name)
    hub.hibernate("beta")
    page = served.get("/hub/status?limit=2").json()
    assert [module["module_id"] for module in page["modules"]] == ["alpha", "beta"]
    assert (page["total"], page["offset"], page["limit"]) == (3, 0, 2)
    assert page["states"]["provisioned"] == 2
    asleep = served.get("/hub/status?state=hibernated&state=crashed").json()
    assert [module["module_id"] for module in asleep["modules"]] == ["beta"]
    assert [m["module_id"] for m in served.get("/hub/status?sort=-module_id&offset=1").json()["modules"]] == [
        "beta",
        "alpha",
    ]
    assert served.get("/hub/status?search=AMM&dirty=true").json()["total"] == 1
    assert served.get("/hub/status?kind=redis").json()["total"] == 0
    assert served.get("/hub/status?sort=color").status == 400


def test_an_operation_that_nobody_waits_for(make_hub: MakeHub, serve: Serve) -> None:
    """With `wait=false` the answer is 202 as soon as it is accepted, with where to ask for it; it goes on alone."""
    hub = make_hub()
    served = serve(hub)
    accepted = served.post("/hub/modules/tenant/provision?wait=false")
    assert accepted.status == 202
    info = accepted.json()
    assert info["operation"] == "provision"
    assert accepted.headers["location"] == f"/hub/operations/{info['op_id']}"
    wait_until(lambda: served.get(accepted.headers["location"]).json()["status"] == "done")
    assert hub.module("tenant").state is State.PROVISIONED
    assert info["asked_by"] == "local@127.0.0.1"
    nothing = served.post("/hub/modules/tenant/wake?wait=false")
    assert nothing.status == 202
    assert served.get(nothing.headers["location"]).json()["status"] == "done"
    refused = served.post("/hub/modules/nobody/wake?wait=false")
    assert refused.json().get("code", refused.json().get("error_code")) == "module-not-found"
    bad = served.post("/hub/modules/-bad-/wake?wait=false")
    assert bad.status == 400, bad.body
    assert served.post("/hub/modules/tenant/provision?wait=false", {"kind": "nothing"}).status == 400


def test_a_deadline_of_the_caller(make_hub: MakeHub, serve: Serve) -> None:
    """Past `timeout` the answer is 504 and says whether the operation goes on, and by which id it can be asked for."""
    hub = make_hub(kinds=[tiny_kind("deaf", "--deaf", start_timeout=3.0)], default_kind="deaf")
    served = serve(hub)
    late = served.post("/hub/modules/tenant/provision?timeout=0.2")
    assert (late.status, late.json()["code"], late.json()["started"]) == (504, "operation-timeout", True)
    assert served.get(f"/hub/operations/{late.json()['op_id']}").json()["status"] == "running"
    waiting = served.post("/hub/modules/tenant/hibernate?timeout=0.1")
    assert (waiting.status, waiting.json()["started"]) == (504, False)


def is_done(served: Served, op_id: str) -> bool:
    return bool(served.get(f"/hub/operations/{op_id}").json()["status"] == "done")


def test_many_modules_at_once(make_hub: MakeHub, serve: Serve) -> None:
    """Bulk tells what became of each, in the order asked; what fails for one is a problem there and not elsewhere."""
    hub = make_hub()
    served = serve(hub)
    hub.provision("one")
    hub.provision("two")
    body = {"operation": "hibernate", "module_ids": ["two", "nobody", "one"]}
    outcomes = served.post("/hub/bulk", body).json()["outcomes"]
    assert [(o["module_id"], o["status"]) for o in outcomes] == [("two", "done"), ("nobody", "failed"), ("one", "done")]
    assert outcomes[0]["module"]["state"] == "hibernated"
    assert outcomes[1]["problem"]["code"] == "module-not-found"
    accepted = served.post("/hub/bulk?wait=false", {"operation": "wake", "module_ids": ["one", "two"]})
    assert accepted.status == 202
    assert [info["module_id"] for info in accepted.json()["operations"]] == ["one", "two"]
    for info in accepted.json()["operations"]:
        wait_until(partial(is_done, served, info["op_id"]))
    gone = served.post("/hub/bulk", {"operation": "obliterate", "module_ids": ["one"]}).json()["outcomes"][0]
    assert gone["obliterated"]["remaining"] == 0
    assert gone["module"] is None
    twice = served.post("/hub/bulk", {"operation": "wake", "module_ids": ["one", "one"]})
    assert twice.status == 400
    assert served.post("/hub/bulk", {"operation": "wake", "module_ids": []}).status == 400
    assert served.post("/hub/bulk", {"operation": "wake", "module_ids": ["one"], "kind": "tiny"}).status == 400


def test_bulk_obliteration_needs_its_role(serve: Serve) -> None:
    """Who may operate may not obliterate many either."""
    served = serve(tokens=tokens())
    body = {"operation": "obliterate", "module_ids": ["one"]}
    assert served.post("/hub/bulk", body, headers=bearer(Role.OPERATE)).status == 403
    assert served.post("/hub/bulk", body, headers=bearer(Role.OBLITERATE)).status == 200


def test_what_a_module_did(make_hub: MakeHub, serve: Serve) -> None:
    """Log, usage and events of a module are told; kinds, counters and who asks too."""
    hub = make_hub()
    served = serve(hub)
    hub.provision("tenant")
    names = [event["name"] for event in served.get("/hub/modules/tenant/events").json()["events"]]
    assert "module.transition" in names
    assert served.get("/hub/modules/tenant/log").json()["module_id"] == "tenant"
    assert isinstance(served.get("/hub/modules/tenant/usage").json()["samples"], list)
    assert served.get("/hub/kinds").json()["default"] == "tiny"
    assert served.get("/hub/whoami").json() == {"name": "local", "role": "obliterate", "authenticated": False}
    assert served.get("/stats/hub").json()["states"]["provisioned"] == 1
    assert served.get("/hub/operations").json() == {"operations": []}
    page = served.get("/hub/events?follow=false&limit=2").json()
    assert len(page["events"]) == 2


def test_a_log_is_followed_by_its_id(make_hub: MakeHub, serve: Serve) -> None:
    """Where another log was begun meanwhile, that one is read from its beginning, whatever the offset."""
    hub = make_hub()
    served = serve(hub)
    hub.provision("tenant")
    log_id = served.get("/hub/modules/tenant/log").json()["log_id"]
    assert log_id
    hub.obliterate("tenant")
    hub.provision("tenant")
    chunk = served.get(f"/hub/modules/tenant/log?offset=3&log_id={log_id}").json()
    assert (chunk["offset"], chunk["log_id"] != log_id) == (0, True)
    assert served.get(f"/hub/modules/tenant/log?offset=0&log_id={'x' * 101}").status == 400


def test_the_log_tells_who_asked(serve: Serve, events: Observer) -> None:
    """An operation's record names the token that asked and where it came from."""
    served = serve(tokens=tokens())
    served.post("/hub/modules/tenant/provision", headers=bearer(Role.OPERATE))
    record = events.wait("operation.requested", module_id="tenant")
    assert record["asked_by"] == "operate-er@127.0.0.1"


def test_a_client_that_leaves_ends_no_operation(make_hub: MakeHub, serve: Serve, events: Observer) -> None:
    """Whoever hangs up while an operation runs, or waits for another, leaves it to the hub; its request ends."""
    hub = make_hub(kinds=[tiny_kind("slow", "--deaf", start_timeout=3.0)], default_kind="slow")
    served = serve(hub)
    head = "POST /hub/modules/tenant/{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    with served.connect() as first, served.connect() as second:
        first.sendall(head.format("provision").encode())
        wait_until(lambda: any(o["status"] == "running" for o in served.get("/hub/operations").json()["operations"]))
        second.sendall(head.format("deprovision").encode())
        wait_until(lambda: len(served.get("/hub/operations").json()["operations"]) == 2)
    wait_until(lambda: len(served.server.server_state.tasks) == 0)
    failed = events.wait("operation.failed", module_id="tenant")
    assert failed["operation"] == "provision"
    wait_until(lambda: served.get("/hub/operations").json()["operations"] == [])
    stats = served.get("/stats/hub").json()["operations"]
    assert sum(stats["deprovision"].values()) == 1


def test_health(make_hub: MakeHub, serve: Serve) -> None:
    """Health is `OK!` while all is up, and a problem when the hub has ended; nobody needs a token to ask."""
    hub = make_hub()
    served = serve(hub, tokens=tokens())
    assert served.get("/health").body == b"OK!"
    hub.close()
    ended = served.get("/health")
    assert (ended.status, ended.json()["code"]) == (503, "not-ready")
    closed = served.get("/hub/status", headers=bearer(Role.READ))
    assert (closed.status, closed.json()["code"]) == (503, "hub-closed")


def test_metrics_are_what_prometheus_reads(make_hub: MakeHub, serve: Serve) -> None:
    """The scrape parses, counters end in _total, and every state has its series."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - untyped, used here alone

    hub = make_hub()
    served = serve(hub)
    hub.provision("tenant")
    answer = served.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    states = {sample.labels["state"]: sample.value for sample in families["modhub_modules"].samples}
    assert states.keys() == {state.value for state in State}
    assert states["provisioned"] == 1
    done = [s for s in families["modhub_operations"].samples if s.labels.get("operation") == "provision"]
    assert [(sample.name, sample.value) for sample in done] == [("modhub_operations_total", 1.0)]
    assert families["modhub_backend_available"].type == "gauge"
    assert all(family.name.startswith("modhub") and family.documentation for family in families.values())


@pytest.mark.parametrize("count", [30])
def test_requests_from_many_threads(make_hub: MakeHub, serve: Serve, count: int) -> None:
    """Many clients at once get their own answers."""
    hub: Hub = make_hub()
    served = serve(hub)
    answers: list[tuple[int, int]] = []

    def ask(client: Served, number: int) -> None:
        answers.append(
            (number, client.get(f"/hub/modules/nobody-{number}").json()["detail"].count(f"nobody-{number}'"))
        )

    threads = [threading.Thread(target=ask, args=(served, number)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [(number, 1) for number in range(count)]
