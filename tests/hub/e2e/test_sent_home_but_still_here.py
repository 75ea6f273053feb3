"""A module whose data is in the backend already, while the local copy could not be taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub import LocalDataError, State
from hub.layout import Layout
from tests.hub.conftest import MakeHub
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e


def test_what_a_recovered_process_writes_after_a_commit_goes_home_too(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """A deprovision commits, the local disk refuses the rename, and provision starts the process again: it is dirty."""
    hub = make_hub(retry_delay=60.0)
    put(hub.provision("m"), "k", "old")
    discard = Layout.discard

    def refuse(self: Layout, module_id: str) -> Path | None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Layout, "discard", refuse)
    with pytest.raises(LocalDataError):
        hub.deprovision("m")
    monkeypatch.setattr(Layout, "discard", discard)
    again = hub.provision("m")
    assert (again.state, again.dirty) == (State.PROVISIONED, True)
    put(again, "k", "new")
    hub.deprovision("m")
    assert get(hub.provision("m"), "k") == "new"
