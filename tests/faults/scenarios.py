"""What is killed: each scenario prepares a hub and runs one operation on it, which passes the crash points.

A new operation needs one function here. Its journal writes, calls of the backend, effects on disk and on processes are
found by themselves.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends import BackendUnavailable, RemoteModule, open_store
from hub import ModhubError, ModuleNotFound
from hub.config import HubConfig
from tests.faults.rig import PATIENCE_S, Rig, await_that, settle
from tests.hub.observer import observed

Step = Callable[[Rig], None]


@dataclass(frozen=True)
class Scenario:
    """One operation.

    Attributes:
        name: `operation/circumstance`.
        operate: what is killed.
        prepare: what comes before it, in the same process.
        options: of the hub.
        wreck: scenario and pattern of a point: an earlier host was killed there, and a start is what is killed.
    """

    name: str
    operate: Step
    prepare: Step = lambda rig: None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    wreck: tuple[str, str] | None = None


def _provisioned(kind: str | None = None) -> Step:
    def prepare(rig: Rig) -> None:
        rig.provision(kind=kind)
        rig.write()

    return prepare


def _hibernated(rig: Rig) -> None:
    _provisioned()(rig)
    rig.hub.hibernate("m")


def _at_home(rig: Rig) -> None:
    _provisioned()(rig)
    rig.hub.deprovision("m")


def _reached_at_home(rig: Rig) -> None:
    _provisioned("reached")(rig)
    rig.hub.deprovision("m")


def _reach(rig: Rig) -> None:
    """A connection to the stable port, which brings the module up."""
    port = rig.ledger.expectations()["m"].gateway_port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"GET k\n")
        assert connection.recv(100)


def _data_of(rig: Rig) -> Path:
    data = rig.hub.module("m").data_dir
    assert data is not None
    return data


def _broken_at_home(rig: Rig) -> None:
    """Data in the backend on which its kind can't start."""
    rig.hub.provision("m", kind="fragile")
    rig.write()
    _data_of(rig).joinpath("used").touch()
    rig.hub.deprovision("m")


def _unchanged(rig: Rig) -> None:
    _at_home(rig)
    rig.hub.provision("m")


def _given_up(rig: Rig) -> None:
    """Data that the backend refused when the restart budget was spent: unprovisioned, and dirty."""
    _provisioned()(rig)
    rig.faults.on("put", BackendUnavailable("down"))
    rig.kill_child()
    await_that(lambda: rig.hub.module("m").state == "unprovisioned", lambda: str(rig.hub.modules()))
    rig.faults.clear()


def _half_obliterated(rig: Rig) -> None:
    """An obliteration that the backend did not let finish."""
    _provisioned()(rig)
    rig.faults.on("purge", BackendUnavailable("down"))
    rig.faults.on("list", BackendUnavailable("down"))
    with contextlib.suppress(ModhubError):
        rig.obliterate()
    rig.faults.clear()


def _crash(rig: Rig) -> None:
    pid = rig.kill_child()
    await_that(lambda: rig.hub.module("m").pid not in {None, pid}, lambda: str(rig.hub.modules()))


def _crash_for_good(rig: Rig) -> None:
    rig.kill_child()

    def gone() -> bool:
        try:
            info = rig.hub.module("m")
        except ModuleNotFound:
            return True
        return info.state == "unprovisioned" and info.dirty

    await_that(gone, lambda: str(rig.hub.modules()))


def _during_outage(step: Step, *methods: str) -> Step:
    def operate(rig: Rig) -> None:
        for method in methods:
            rig.faults.on(method, BackendUnavailable("down"))
        step(rig)

    return operate


def _failing(step: Step, *methods: str) -> Step:
    def operate(rig: Rig) -> None:
        try:
            _during_outage(step, *methods)(rig)
        except ModhubError:
            return
        raise AssertionError("it did not fail")

    return operate


def _provision(kind: str | None = None) -> Step:
    return lambda rig: rig.provision(kind=kind)


def _crash_during_recovery(rig: Rig) -> None:
    """The first recovery fails, since the data is bad; the second one succeeds."""
    used = _data_of(rig) / "used"
    used.touch()
    rig.kill_child()
    await_that(lambda: rig.hub.module("m").restarts >= 2, lambda: str(rig.hub.modules()))
    used.unlink()
    await_that(lambda: rig.hub.module("m").pid is not None, lambda: str(rig.hub.modules()))


def _cut_off(rig: Rig) -> None:
    """Hydration that has the manifest, and gets no blob."""
    gets = iter(range(100))

    def third() -> None:
        if next(gets) >= 2:
            raise BackendUnavailable("down")

    rig.faults.on("get", third)
    with contextlib.suppress(ModhubError):
        rig.hub.provision("m")


def _held_elsewhere(rig: Rig) -> None:
    """A module that another hub holds by a lease, and is sending."""
    with_lease = RemoteModule(open_store(f"file://{rig.root}/backend"), "m", owner="another")
    with_lease.claim(None, "tiny", lease_s=0.3)


def _until_listed_again(rig: Rig) -> None:
    with observed() as events:
        rig.obliterate()
        events.wait("module.relisted")


def _checkpoint(rig: Rig) -> None:
    rig.hub.checkpoint("m")


def void(_result: object) -> None:
    """For what is done for its effect."""


def _start(rig: Rig) -> None:
    rig.start(**OF_STARTS)
    settle(rig.hub)


# What a start after a kill has to finish is finished at once.
OF_STARTS: dict[str, Any] = {"retry_delay": 0.0, "retry_delay_max": 0.05, "restart_limit": 1000}
ON_EXIT: tuple[str, ...] = HubConfig.__dataclass_fields__["on_exit"].metadata["choices"]

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("provision/fresh", _provision()),
    Scenario("provision/from the backend", _provision(), _at_home),
    Scenario("provision/of dirty data", _provision(), _given_up, {"restart_limit": 0}),
    Scenario("provision/of a process that fails", _failing(_provision("broken"))),
    Scenario("provision/of data that fails", _failing(_provision()), _broken_at_home),
    Scenario("provision/of a backend that fails", _cut_off, _at_home),
    Scenario("hibernate/tiny", lambda rig: void(rig.hub.hibernate("m")), _provisioned()),
    Scenario("hibernate/redis", lambda rig: void(rig.hub.hibernate("m")), _provisioned("redis")),
    Scenario("wake", lambda rig: void(rig.hub.wake("m")), _hibernated),
    Scenario("recover/tiny", _crash, _provisioned()),
    Scenario("recover/redis", _crash, _provisioned("redis")),
    Scenario("recover/with a grandchild", _crash, _provisioned("forking")),
    Scenario("recover/at the second attempt", _crash_during_recovery, _provisioned("fragile")),
    Scenario("give up/taken", _crash_for_good, _provisioned(), {"restart_limit": 0}),
    Scenario("give up/refused", _during_outage(_crash_for_good, "put"), _provisioned(), {"restart_limit": 0}),
    Scenario("deprovision/with changes", lambda rig: void(rig.hub.deprovision("m")), _provisioned()),
    Scenario("deprovision/redis", lambda rig: void(rig.hub.deprovision("m")), _provisioned("redis")),
    Scenario("deprovision/without changes", lambda rig: void(rig.hub.deprovision("m")), _unchanged),
    Scenario("deprovision/hibernated", lambda rig: void(rig.hub.deprovision("m")), _hibernated),
    Scenario(
        "deprovision/failing backend", _failing(lambda rig: void(rig.hub.deprovision("m")), "put"), _provisioned()
    ),
    Scenario("obliterate/provisioned", Rig.obliterate, _provisioned()),
    Scenario("obliterate/hibernated", Rig.obliterate, _hibernated),
    Scenario("obliterate/untracked", Rig.obliterate, _at_home),
    Scenario("obliterate/of nothing", Rig.obliterate),
    Scenario("obliterate/failing backend", _failing(Rig.obliterate, "list", "purge"), _provisioned()),
    Scenario("obliterate/again", Rig.obliterate, _half_obliterated),
    Scenario("relist/after another hub's lease", _until_listed_again, _held_elsewhere, {"lease": 0.2}),
    Scenario("gateway/provision", _provision("reached")),
    Scenario("gateway/deprovision", lambda rig: void(rig.hub.deprovision("m")), _provisioned("reached")),
    Scenario("gateway/connect", _reach, _reached_at_home),
    Scenario("gateway/obliterate", Rig.obliterate, _provisioned("reached")),
    Scenario("gateway/obliterate at home", Rig.obliterate, _reached_at_home),
    Scenario("checkpoint/running", _checkpoint, _provisioned("copying")),
    Scenario("checkpoint/redis", _checkpoint, _provisioned("redis")),
    Scenario("checkpoint/hibernated", _checkpoint, _hibernated),
    *(
        Scenario(f"end/{choice}", lambda rig: rig.hub.close(), _provisioned("forking"), {"on_exit": choice})
        for choice in ON_EXIT
    ),
    Scenario("start/first", _start, wreck=("", "")),
    Scenario("start/provisioned", _start, wreck=("recover/with a grandchild", "begin")),
    Scenario("start/hibernated", _start, wreck=("wake", "begin")),
    Scenario("start/dirty", _start, wreck=("provision/of dirty data", "begin")),
    Scenario("start/hydrating", _start, wreck=("provision/from the backend", r"backend:get m/blobs/\*#2")),
    Scenario("start/starting", _start, wreck=("provision/from the backend", r"process:spawn .*:after")),
    Scenario("start/recovering", _start, wreck=("recover/tiny", r"journal:m=recovering.*:after")),
    Scenario("start/giving up", _start, wreck=("give up/taken", r"journal:m=recovering\+dirty\+suspect.*:after")),
    Scenario("start/dehydrating", _start, wreck=("deprovision/with changes", r"backend:put m/head:before")),
    Scenario(
        "start/committed", _start, wreck=("deprovision/with changes", r"journal:m=deprovisioning\+pending.*:after")
    ),
    Scenario("start/discarded", _start, wreck=("deprovision/with changes", r"journal:m=gone:before")),
    Scenario("start/obliterating", _start, wreck=("obliterate/provisioned", r"journal:m=obliterating.*:after")),
    Scenario("start/obliterated here", _start, wreck=("obliterate/again", "begin")),
)
