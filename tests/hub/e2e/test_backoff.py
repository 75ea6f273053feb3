"""The delays between the recoveries of a module that crashes again and again."""

from __future__ import annotations

import os
import signal

import pytest

from tests.hub.conftest import MakeHub
from tests.hub.observer import Observer

pytestmark = pytest.mark.e2e


def test_time_waited_in_crashed_is_no_stable_time(make_hub: MakeHub, events: Observer) -> None:
    """Delays longer than `stable_after` go on growing: only time up starts a series anew."""
    hub = make_hub(restart_delay=1.5, restart_delay_max=1.6, stable_after=1.0, restart_limit=10)
    hub.provision("m")
    for crash in range(1, 4):
        pid = hub.module("m").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        events.wait("module.restart.scheduled", module_id="m", count=crash)
        events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned", count=crash)
    delays = [r["delay_ms"] for r in events.all("module.restart.scheduled", module_id="m")]
    assert delays[0] == 0
    assert min(delays[1:]) > 1000
