"""Requests to modules that sleep, crash or move, and what counts as activity."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub import Kind, State
from hub.http.config import HttpConfig
from hub.http.proxy.errors import InstanceUnreachable
from hub.http.proxy.resolve import Live
from hub.instance import sockets
from tests.hub.conftest import tiny_kind
from tests.hub.http.proxy.served import Served, raw_kind, say, seen, serving
from tests.hub.observer import Observer

pytestmark = pytest.mark.e2e


def test_a_hundred_requests_to_a_sleeping_module_are_one_wake(tmp_path: Path, events: Observer) -> None:
    """All are answered once it is up, and it was woken once."""
    with serving(tmp_path) as served:
        served.provision("m")
        served.run(served.hub.hibernate("m"))
        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda number: served.get(f"/hub/proxy/m/{number}"), range(100)))
        assert {answer.status for answer in answers} == {200}
        assert sorted(int(answer.json()["target"][1:]) for answer in answers) == list(range(100))
    assert len(events.all("module.transition", module_id="m", to_state="waking")) == 1


def test_a_module_that_does_not_come_up_in_time(tmp_path: Path) -> None:
    """503 with `Retry-After`; the wake goes on, and a later request is answered."""
    slow = Kind("raw", ["sh", "-c", f"sleep 0.8; exec {' '.join(raw_kind().command)}"], start_timeout=20.0)
    with serving(tmp_path, HttpConfig(proxy_wake_timeout=0.2), kinds=[slow]) as served:
        served.provision("m")
        served.run(served.hub.hibernate("m"))
        answer = served.get("/hub/proxy/m/x")
        assert (answer.status, answer.json()["code"]) == (503, "wake-timeout")
        assert int(answer.all("retry-after")[0]) >= 1
        deadline = time.monotonic() + 10
        while (answer := served.get("/hub/proxy/m/x")).status == 503:
            assert time.monotonic() < deadline
        assert answer.status == 200


def test_a_module_that_can_not_come_up(tmp_path: Path) -> None:
    """Its typed failure is the answer, and an unknown module is not begun by a request."""
    with serving(tmp_path, kinds=[tiny_kind("raw", "--broken-once-used")]) as served:
        info = served.provision("m")
        assert info.data_dir is not None
        (info.data_dir / "used").write_text("")
        served.run(served.hub.hibernate("m"))
        answer = served.get("/hub/proxy/m/x")
        assert (answer.status, answer.json()["code"]) == (502, "provision-failed")
        assert served.get("/hub/proxy/nobody/x").status == 404


def test_a_request_rides_over_a_crash(tmp_path: Path, events: Observer) -> None:
    """The process is killed between two requests of one connection: the second waits for its recovery."""
    with serving(tmp_path) as served:
        first = served.provision("m")
        assert first.pid is not None
        with served.client() as client:
            for number in range(3):
                assert client.ask("/hub/proxy/m/x").status == 200
                pid = served.run(served.hub.module("m")).pid
                assert pid is not None
                kill(pid)
                answer = client.ask(f"/hub/proxy/m/after-{number}")
                assert answer.json()["target"] == f"/after-{number}"
        assert served.run(served.hub.module("m")).restarts == 3


def test_a_request_that_crashes_its_instance(tmp_path: Path) -> None:
    """One that may be repeated is tried once more, and then given up; one that may not is sent once."""
    with serving(tmp_path, restart_limit=20) as served:
        served.provision("m")
        answer = served.get("/hub/proxy/m/crash", method="POST")
        assert (answer.status, answer.json()["code"]) == (502, "instance-unreachable")
        assert served.get("/hub/proxy/m/x").status == 200
        restarts = served.run(served.hub.module("m")).restarts
        assert served.get("/hub/proxy/m/crash").status == 502
        assert served.get("/hub/proxy/m/x").status == 200
        assert served.run(served.hub.module("m")).restarts == restarts + 2


def test_a_request_during_an_operation_waits_for_its_end(tmp_path: Path, events: Observer) -> None:
    """While the module is stopped, the request waits, and wakes it."""
    with serving(tmp_path) as served:
        served.provision("m")
        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(lambda: served.run(served.hub.hibernate("m")))
            events.wait("module.transition", module_id="m", to_state="hibernating")
            assert served.get("/hub/proxy/m/x", method="POST").status == 200
            assert stopping.result().state is State.HIBERNATED


def test_a_port_that_changed_hands_gets_no_request(served: Served) -> None:
    """A connection to a port that its module's process does not hold any more is not used: the hub is asked again."""
    info = served.run(served.hub.module("m"))
    assert info.host is not None
    assert info.port is not None
    assert info.pid is not None
    now = Live("m", info.host, info.port, info.pid)
    before = len(seen(info))

    async def connect(live: Live) -> None:
        connection = await served.app._pool.connect(live)  # pyright: ignore[reportPrivateUsage]
        connection.close()

    served.run(connect(now))
    # As it would be if "m" had restarted, or "n" had been given the port, between look-up and connect.
    for stale in (now._replace(pid=info.pid + 1), now._replace(module_id="n")):
        with pytest.raises(InstanceUnreachable, match="went away"):
            served.run(connect(stale))
    assert len(seen(info)) == before


def test_requests_are_activity_and_kept_connections_are_none(tmp_path: Path, events: Observer) -> None:
    """A module in use stays up past its idle time-out; when requests end, so do the connections, and it is sent home."""
    with serving(tmp_path, idle_timeout=0.8, sweep_interval=0.1) as served:
        info = served.provision("m")
        assert info.port is not None
        with served.client() as client:
            until = time.monotonic() + 1.6
            while time.monotonic() < until:
                assert client.ask("/hub/proxy/m/x").status == 200
                assert not events.all("module.idle")
            assert sockets.connections_by_port({info.port}).get(info.port, 0) >= 1
            ended = time.monotonic()
            wait_closed(info.port)
            assert time.monotonic() - ended < 1.2
            # The client's own connection to the hub is no activity either.
            events.wait("module.idle", module_id="m", timeout=5)


def test_a_long_answer_is_activity_as_long_as_it_lasts(tmp_path: Path, events: Observer) -> None:
    """An open stream keeps its module up although nothing flows."""
    with serving(tmp_path, idle_timeout=0.5, sweep_interval=0.1) as served:
        served.provision("m")
        with served.client() as client:
            path = say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").encode()
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            assert client.head()[0] == 200
            assert client.exactly(3) == b"abc"
            with pytest.raises(TimeoutError):
                client.sock.settimeout(1.5)
                client.fill()
            assert not events.all("module.idle")
        events.wait("module.idle", module_id="m", timeout=5)


def test_the_end_of_the_proxy_closes_its_connections(served: Served) -> None:
    """None is left at the instance's port."""
    served.get("/hub/proxy/m/x")
    port = served.run(served.hub.module("m")).port
    assert port is not None

    async def close() -> None:
        await served.app.aclose()

    served.run(close())
    wait_closed(port)
    assert served.get("/hub/proxy/m/x").status == 200


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def wait_closed(port: int) -> None:
    deadline = time.monotonic() + 5
    while sockets.connections_by_port({port}).get(port, 0):
        assert time.monotonic() < deadline
        time.sleep(0.02)
