"""The backend goes away and comes back, under a hub with real processes."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backends import BackendDenied, BackendUnavailable
from hub import BackendError, Hub, State
from tests.hub.conftest import MakeHub
from tests.hub.faulty import Faults, faulty_backend
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e

# Long enough that no attempt is made while a test looks at the outage.
LASTING: dict[str, Any] = {"breaker_delay": 3600.0, "breaker_delay_max": 3600.0}
BRIEF: dict[str, Any] = {"breaker_delay": 0.5, "breaker_delay_max": 0.5}


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return faulty_backend(monkeypatch)


def notice_outage(hub: Hub, *, failures: int = 3) -> None:
    """Let the hub notice that the backend is down, by modules that it can't provision."""
    for number in range(failures):
        with pytest.raises(BackendError):
            hub.provision(f"missing-{number}")
    assert not hub.backend_status().available


@pytest.mark.parametrize("asleep", [False, True])
def test_a_module_is_left_alone_while_it_could_not_be_sent_home(
    make_hub: MakeHub, faults: Faults, asleep: bool
) -> None:
    """A deprovision is refused before anything is touched: the same process serves on, or the same data sleeps on."""
    hub = make_hub(**LASTING)
    info = hub.provision("m")
    put(info, "k", "v")
    if asleep:
        info = hub.hibernate("m")
    faults.go_down()
    notice_outage(hub)
    with pytest.raises(BackendError, match=r"unavailable since .*: down") as refused:
        hub.deprovision("m")
    assert refused.value.retry_after_s is not None
    assert 2500 < refused.value.retry_after_s <= 3600
    now = hub.module("m")
    assert (now.state, now.pid, now.last_error) == (info.state, info.pid, None)
    assert get(hub.provision("m"), "k") == "v"


def test_what_needs_no_backend_goes_on(make_hub: MakeHub, faults: Faults, events: Observer) -> None:
    """Hibernation, waking, and the recovery of what crashed are none of the backend's business, and ask it nothing."""
    hub = make_hub(**LASTING)
    put(hub.provision("m"), "k", "v")
    faults.go_down()
    notice_outage(hub)
    asked = faults.calls.total()
    assert hub.hibernate("m").state is State.HIBERNATED
    assert get(hub.wake("m"), "k") == "v"
    pid = hub.module("m").pid
    assert pid is not None
    put(hub.module("m"), "k", "w")
    hub.hibernate("m")
    assert get(hub.provision("m"), "k") == "w"
    assert events.all("backend.failed") == []
    assert faults.calls.total() == asked


def test_a_module_that_is_not_here_is_refused_before_anything_happens(
    make_hub: MakeHub, faults: Faults, events: Observer
) -> None:
    """No transition, no request to the backend, no directory: only the error."""
    hub = make_hub(**LASTING)
    faults.go_down()
    notice_outage(hub)
    transitions, asked = len(events.all("module.transition")), faults.calls.total()
    with pytest.raises(BackendError, match="provision of module 'other': the backend has been unavailable since"):
        hub.provision("other")
    assert faults.calls.total() == asked
    assert len(events.all("module.transition")) == transitions
    assert hub.modules() == ()


def test_who_asks_again_when_the_backend_is_back_is_not_refused(make_hub: MakeHub, faults: Faults) -> None:
    """Also before the hub has noticed: where its next look is due in a moment, what was asked for waits for that."""
    hub = make_hub(retry_delay=3600.0, **BRIEF)
    put(hub.provision("m"), "k", "v")
    hub.provision("gone")
    faults.go_down()
    with pytest.raises(BackendError):
        hub.obliterate("gone")
    notice_outage(hub, failures=2)
    faults.clear()
    assert not hub.backend_status().available
    assert hub.obliterate("gone").remaining == 0
    faults.go_down()
    notice_outage(hub)
    faults.clear()
    assert hub.deprovision("m").state is State.UNPROVISIONED
    faults.go_down()
    notice_outage(hub)
    faults.clear()
    assert get(hub.provision("m"), "k") == "v"


def test_dirty_data_is_served_while_the_backend_is_away(make_hub: MakeHub, faults: Faults) -> None:
    """Data that could not be sent home is the newest that there is: provision starts from it, and asks nobody."""
    hub = make_hub(retry_delay=3600.0, restart_limit=0, **LASTING)
    put(hub.provision("m"), "k", "v")
    faults.go_down()
    with pytest.raises(BackendError):
        hub.deprovision("m")
    notice_outage(hub, failures=2)
    asked = faults.calls.total()
    with pytest.raises(BackendError, match="unavailable since"):
        hub.deprovision("m")
    kept = hub.module("m")
    assert (kept.state, kept.dirty) == (State.CRASHED, True)
    assert get(hub.provision("m"), "k") == "v"
    assert faults.calls.total() == asked


def test_an_obliteration_takes_local_traces_at_once_and_stays_pending(
    make_hub: MakeHub, faults: Faults, tmp_path: Path, events: Observer
) -> None:
    """The caller gets `BackendError` without a request; the rest is deleted when the backend is back, not before."""
    hub = make_hub(retry_delay=0.001, **BRIEF)
    put(hub.provision("m"), "k", "v")
    faults.go_down()
    notice_outage(hub)
    asked = faults.calls.total() - faults.calls["check"]
    with pytest.raises(BackendError) as failed:
        hub.obliterate("m")
    assert failed.value.retry_after_s is not None
    assert hub.module("m").state is State.CRASHED
    assert not (tmp_path / "data" / "modules" / "m").exists()
    while faults.calls["check"] < 2:  # attempts of the hub's own, between which retries would have been due often
        pass
    assert faults.calls.total() - faults.calls["check"] == asked
    assert events.all("module.retry.scheduled", module_id="m") == []
    faults.clear()
    events.wait("module.obliterated", module_id="m")
    assert events.all("module.retry.scheduled", module_id="m", operation="obliterate")
    assert list((tmp_path / "backend").glob("*")) == []


def test_an_obliteration_outlives_hubs_that_can_not_complete_it(
    make_hub: MakeHub, faults: Faults, tmp_path: Path, events: Observer
) -> None:
    """Begun in one hub's outage, still pending in the next one's, it is completed when the backend is back."""
    hub = make_hub(**LASTING)
    put(hub.provision("m"), "k", "v")
    faults.go_down()
    notice_outage(hub)
    with pytest.raises(BackendError):
        hub.obliterate("m")
    hub.close()
    again = make_hub(retry_delay=0.001, breaker_failures=1, **BRIEF)
    events.wait("module.transition", count=2, module_id="m", from_state="obliterating", to_state="crashed")
    assert list((tmp_path / "backend" / "m").iterdir())
    faults.clear()
    events.wait("module.obliterated", module_id="m")
    assert again.modules() == ()
    assert list((tmp_path / "backend").glob("*")) == []


def test_retries_wait_for_the_backend_and_then_go_on(make_hub: MakeHub, faults: Faults, events: Observer) -> None:
    """What was on its way home stays here, dirty; when the backend is back it goes, and nothing of it is lost."""
    hub = make_hub(retry_delay=0.001, retry_delay_max=0.001, **BRIEF)
    names = [f"m{number}" for number in range(3)]
    for name in names:
        put(hub.provision(name), "k", name)
    faults.on("put", BackendUnavailable("down"))
    faults.on("get", BackendUnavailable("down"))
    faults.on("check", BackendUnavailable("down"))
    with ThreadPoolExecutor() as pool:
        for failed in [pool.submit(hub.deprovision, name) for name in names]:
            with pytest.raises(BackendError):
                failed.result()
    events.wait("backend.unavailable")
    while any(info.state is not State.CRASHED for info in hub.modules()):  # a retry may be under way
        pass
    asked, attempts = faults.calls["get"], faults.calls["check"]
    while faults.calls["check"] < attempts + 2:
        pass
    assert faults.calls["get"] == asked
    assert all(info.dirty for info in hub.modules())
    faults.clear()
    assert events.wait("backend.available")["duration_ms"] > 0
    for name in names:
        events.wait("module.transition", module_id=name, from_state="deprovisioning", to_state="unprovisioned")
        assert get(hub.provision(name), "k") == name


def test_idle_modules_serve_on_until_the_backend_is_back(make_hub: MakeHub, faults: Faults, events: Observer) -> None:
    """While it is away the idle are not even looked for; afterwards they go home."""
    hub = make_hub(idle_timeout=0.2, sweep_interval=0.02, **BRIEF)
    hub.provision("m")
    faults.go_down()
    events.wait("backend.unavailable")
    events.wait("backend.failed", count=3)  # the looks that found it out
    assert hub.module("m").state is State.PROVISIONED
    faults.clear()
    events.wait("backend.available")
    events.wait("module.transition", module_id="m", from_state="deprovisioning", to_state="unprovisioned")
    assert len(events.all("backend.failed")) == 3


def test_who_comes_back_while_the_backend_is_asked_stays(make_hub: MakeHub, faults: Faults, events: Observer) -> None:
    """An idle module that gets a connection during a slow look at the backend is not sent home."""
    asked, go_on = threading.Event(), threading.Event()

    def look_slowly() -> None:
        asked.set()
        assert go_on.wait(30)

    faults.on("check", look_slowly)
    hub = make_hub(idle_timeout=0.2, sweep_interval=0.02)
    info = hub.provision("m")
    assert asked.wait(30)
    assert info.port is not None
    with socket.create_connection(("127.0.0.1", info.port)):
        go_on.set()
        looks = faults.calls["check"]
        hub.provision("other")
        events.wait("module.transition", module_id="other", to_state="unprovisioned")
        assert faults.calls["check"] > looks
        assert events.all("module.idle", module_id="m") == []
    events.wait("module.idle", module_id="m")


def test_while_it_is_away_the_hub_alone_asks_and_the_status_follows(
    make_hub: MakeHub, faults: Faults, events: Observer
) -> None:
    """Attempts by looks without effect; the status says since when, why and how long, and all of it is an event."""
    hub = make_hub(breaker_delay=0.05, breaker_delay_max=0.1)
    before = hub.backend_status()
    assert (before.available, before.error, before.retry_after_s) == (True, None, None)
    faults.go_down("no route")
    notice_outage(hub)
    down = hub.backend_status()
    assert (down.available, down.error) == (False, "no route")
    assert down.since >= before.since
    assert down.retry_after_s is not None
    assert down.retry_after_s <= 0.1
    while faults.calls["check"] < 4:
        assert not hub.backend_status().available
    faults.clear()
    events.wait("backend.available")
    assert hub.backend_status().available
    assert hub.provision("m").state is State.PROVISIONED
    assert len(events.all("backend.unavailable")) == len(events.all("backend.available")) == 1


def test_a_defect_in_an_attempt_is_not_the_end_of_attempts(make_hub: MakeHub, faults: Faults, events: Observer) -> None:
    """An unexpected exception of a store is logged, and the backend is tried again."""
    hub = make_hub(breaker_delay=0.05, breaker_delay_max=0.05)
    faults.go_down()
    faults.on("check", ZeroDivisionError("a defect"))
    notice_outage(hub)
    events.wait("hub.actor_failed", actor="backend-watch")
    faults.clear()
    events.wait("backend.available")
    assert hub.provision("m").state is State.PROVISIONED


def test_a_backend_that_refuses_is_available(make_hub: MakeHub, faults: Faults) -> None:
    """Denied is an answer: each operation asks anew and says so, since a person may mend it any moment."""
    hub = make_hub(**LASTING)
    faults.on("get", BackendDenied("no permission"))
    for number in range(5):
        with pytest.raises(BackendError, match="no permission") as failed:
            hub.provision(f"m{number}")
        assert failed.value.retry_after_s is None
    assert hub.backend_status().available


def test_a_hub_that_ends_during_an_outage_lets_its_modules_sleep(
    make_hub: MakeHub, faults: Faults, events: Observer
) -> None:
    """With `on_exit="deprovision"` what can't be sent home is hibernated, in good order, and wakes in the next hub."""
    hub = make_hub(on_exit="deprovision", **LASTING)
    put(hub.provision("m"), "k", "v")
    faults.go_down()
    notice_outage(hub)
    hub.close()
    events.wait("module.transition", module_id="m", from_state="hibernating", to_state="hibernated")
    again = make_hub(**LASTING)
    assert again.module("m").state is State.HIBERNATED
    assert get(again.wake("m"), "k") == "v"


def test_an_outage_ends_the_waiting_of_transfers(make_hub: MakeHub, faults: Faults) -> None:
    """Each of those in the queue would only find out for itself, after its time-outs, what is known already."""
    hub = make_hub(max_transfers=1, breaker_failures=1, **LASTING)
    begun, go_on = threading.Event(), threading.Event()

    def fail_slowly() -> None:
        begun.set()
        assert go_on.wait(30)
        raise BackendUnavailable("down")

    faults.on("get", fail_slowly)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(hub.provision, "first")
        assert begun.wait(30)
        others = [pool.submit(hub.provision, f"other-{number}") for number in range(3)]
        while sum(info.state is State.PROVISIONING for info in hub.modules()) < 4:
            pass
        go_on.set()
        for submitted in (first, *others):
            with pytest.raises(BackendError):
                submitted.result()
    assert faults.calls["get"] == 1


def test_an_outage_is_noticed_by_one_failure_and_a_look(make_hub: MakeHub, faults: Faults, events: Observer) -> None:
    """However slowly work fails, the first failure is enough where the backend does not answer a look either."""
    hub = make_hub(**LASTING, breaker_failures=100)
    faults.go_down()
    with pytest.raises(BackendError):
        hub.provision("m")
    events.wait("backend.unavailable")
    assert faults.calls["check"] == 1


def test_a_failure_of_work_alone_is_no_outage(make_hub: MakeHub, faults: Faults, events: Observer) -> None:
    """A backend that answers the look is only left alone after failures in a row; it is looked at once for them."""
    hub = make_hub(**LASTING, breaker_failures=3)
    faults.on("get", BackendUnavailable("this one object"))
    for number in range(3):
        assert hub.backend_status().available
        with pytest.raises(BackendError):
            hub.provision(f"m{number}")
    events.wait("backend.unavailable")
    assert faults.calls["check"] <= 1
