"""Plugins of other distributions, found by their entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hub.conftest import MakeHub
from tests.hub.observer import Observer

pytestmark = pytest.mark.e2e


def install(site: Path, name: str, source: str, entry_points: str) -> None:
    """Put a distribution of one module into a directory, as an installer does."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    (site / f"{name}.py").write_text(source, encoding="utf-8")


JANITOR = """
from actors import Actor
from hub import Obliterate, Subscribe

class Janitor(Actor):
    def __init__(self, registry):
        self.registry = registry

    async def on_start(self):
        await self.registry.ask_async(Subscribe(self.actor_ref))

    def on_receive(self, event):
        if (event.module_id or "").startswith("build-") and event.fields.get("to_state") == "unprovisioned":
            if event.fields["from_state"] == "deprovisioning":
                self.registry.tell(Obliterate(event.module_id, asked_by="janitor"))
"""


def test_an_installed_plugin_is_found_and_works(
    make_hub: MakeHub, events: Observer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution's plugin runs in every hub, by its entry point alone: this one obliterates what a build leaves."""
    install(tmp_path, "acme_janitor", JANITOR, "[modhub.plugins]\njanitor = acme_janitor:Janitor\n")
    monkeypatch.syspath_prepend(tmp_path)
    hub = make_hub()
    for module_id in ("tenant", "build-1"):
        hub.provision(module_id)
        hub.deprovision(module_id)
    events.wait("module.obliterated", module_id="build-1")
    assert events.all("module.obliterated", module_id="tenant") == []
    assert events.all("plugin.failed") == []


def test_what_is_no_actor_is_reported_and_the_hub_goes_on(
    make_hub: MakeHub, events: Observer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry point that can't be loaded, or is not one of the hub's actors, is told of in words that name the reason."""
    source = "import pykka\n\nclass Threaded(pykka.ThreadingActor):\n    pass\n"
    names = (
        "[modhub.plugins]\nthreaded = acme_broken:Threaded\nnumber = acme_broken:__name__\nmissing = acme_broken:No\n"
    )
    install(tmp_path, "acme_broken", source, names)
    monkeypatch.syspath_prepend(tmp_path)
    hub = make_hub()
    failed = {event["plugin"]: event["error"] for event in events.all("plugin.failed")}
    assert failed.keys() == {"threaded", "number", "missing"}
    assert "no subclass of actors.Actor" in failed["threaded"]
    assert "no subclass of actors.Actor" in failed["number"]
    assert hub.provision("m").pid
