"""A hub on a real S3 server that hangs, dies, and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub import BackendError, Hub, OperationCancelled, Provision, State
from tests.hub.conftest import MakeHub
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put
from tests.s3_servers import Server, seaweedfs

pytestmark = pytest.mark.e2e

QUICK: dict[str, Any] = {
    "backend_options": {"deadline": 1.5, "connect_timeout": 0.5, "read_timeout": 0.5},
    "breaker_delay": 0.3,
    "breaker_delay_max": 0.6,
    "retry_delay": 0.05,
}


class Outage:
    """A server that can be taken away and given back."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._process = server.process
        environ = Path(f"/proc/{self._process.pid}/environ").read_bytes()
        self._environment = dict(pair.split(b"=", 1) for pair in environ.split(b"\0") if pair)
        self._again: list[subprocess.Popen[bytes]] = []

    def hang(self) -> None:
        os.killpg(self._process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.killpg(self._process.pid, signal.SIGCONT)

    def die(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def return_(self) -> None:
        """Start it again, on its data and its ports."""
        self._again.append(
            subprocess.Popen(
                self._process.args,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def close(self) -> None:
        for process in self._again:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def outage(s3_directory: Path, tmp_path: Path, s3_credentials: None) -> Iterator[Outage]:
    """A server of this test's own."""
    with seaweedfs(s3_directory / f"outage-{tmp_path.name}") as server:
        outage = Outage(server)
        yield outage
        outage.close()


@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_modules_outlive_an_outage_of_their_backend(
    make_hub: MakeHub, outage: Outage, events: Observer, how: str
) -> None:
    """While the server is away what runs runs on and what needs it fails soon; when it is back all data goes home."""
    away, back = {"hangs": (outage.hang, outage.wake), "dies": (outage.die, outage.return_)}[how]
    hub = make_hub(backend_uri=outage.server.uri("outage"), **QUICK)
    for name in ("at-home", "gone", "m"):
        put(hub.provision(name), "k", name)
    hub.deprovision("at-home")
    before = hub.module("m")

    away()
    _notice(hub)
    # A look is always due here, which each waits for, for two seconds at the most.
    assert _seconds(lambda: _refused(hub.deprovision, "m")) < 4
    assert _seconds(lambda: _refused(hub.provision, "at-home")) < 4
    assert _seconds(lambda: _refused(hub.obliterate, "gone")) < 4
    now = hub.module("m")
    assert (now.state, now.pid) == (State.PROVISIONED, before.pid)
    assert get(now, "k") == "m"
    hub.hibernate("m")
    put(hub.wake("m"), "k", "written-meanwhile")
    assert hub.module("gone").state is State.CRASHED

    back()
    assert events.wait("backend.available", timeout=60)["duration_ms"] > 0
    events.wait("module.obliterated", module_id="gone", timeout=60)
    assert get(hub.provision("at-home"), "k") == "at-home"
    assert hub.deprovision("m").state is State.UNPROVISIONED
    assert get(hub.provision("m"), "k") == "written-meanwhile"
    assert get(hub.provision("gone"), "k") is None


def test_a_transfer_in_an_outage_ends_when_it_is_not_wanted_any_more(
    make_hub: MakeHub, outage: Outage, events: Observer
) -> None:
    """A hydration that waits to repeat a request is ended by a deprovision long before its deadline."""
    options = {"backend_options": {"deadline": 600.0, "connect_timeout": 0.5, "read_timeout": 0.5}}
    hub = make_hub(backend_uri=outage.server.uri("outage"), **QUICK | options)
    outage.die()
    provisioning = hub.registry.ask(Provision("m"), block=False)
    events.wait("module.transition", module_id="m", to_state="provisioning")
    assert hub.deprovision("m", timeout=30).state is State.UNPROVISIONED
    with pytest.raises(OperationCancelled):
        provisioning.get(timeout=30)


def _notice(hub: Hub) -> None:
    for number in range(3):
        with pytest.raises(BackendError):
            hub.provision(f"missing-{number}")
    assert not hub.backend_status().available


def _refused(operation: Callable[[str], object], module_id: str) -> None:
    with pytest.raises(BackendError) as refused:
        operation(module_id)
    assert refused.value.retry_after_s is not None


def _seconds(call: Callable[[], None]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started
