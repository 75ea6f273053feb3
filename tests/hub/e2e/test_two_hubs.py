"""Two hubs that share a backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends import Head, RemoteModule
from hub import DataConflict
from tests.hub.conftest import MakeHub

pytestmark = pytest.mark.e2e


def test_a_provision_that_loses_a_race_says_so_and_leaves_nothing(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another hub takes the module between the look and the claim: nothing of it is here, and nothing is said to be."""
    claim = RemoteModule.claim

    def late(self: RemoteModule, head: Head | None, kind: str, *, lease_s: float) -> Head:
        monkeypatch.undo()
        other.provision("m")
        return claim(self, head, kind, lease_s=lease_s)

    hub, other = make_hub(), make_hub(data="other")
    monkeypatch.setattr(RemoteModule, "claim", late)
    with pytest.raises(DataConflict) as lost:
        hub.provision("m")
    assert "another hub" in lost.value.hint
    assert "kept" not in lost.value.hint
    assert hub.modules() == ()
    assert not (tmp_path / "data" / "modules" / "m").exists()
    assert [info.module_id for info in other.modules()] == ["m"]
