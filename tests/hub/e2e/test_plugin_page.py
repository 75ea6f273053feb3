"""The plugin that docs/how-to/write-a-plugin.md shows, run in a hub."""

from __future__ import annotations

import logging
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.hub.conftest import MakeHub
from tests.hub.kinds.store_process import wait_for

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "write-a-plugin.md"


def test_the_plugin_of_the_page_works(make_hub: MakeHub, caplog: pytest.LogCaptureFixture) -> None:
    """The page's plugin, copied from it, tells of a crash and has what runs copied home."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    namespace: dict[str, Any] = {"__name__": "acme"}
    exec(code, namespace)
    namespace["EVERY_S"] = 0.5
    caplog.set_level(logging.WARNING, "acme")
    hub = make_hub(plugins=[namespace["Nightly"]])
    info = hub.provision("m", kind="store")
    assert info.pid is not None
    os.kill(info.pid, signal.SIGKILL)
    wait_for(lambda: any(record.getMessage().startswith("m crashed: ") for record in caplog.records))
    wait_for(lambda: any(event.name == "checkpoint.completed" for event in hub.events("m").events))
    asked = [event for event in hub.events("m").events if event.name == "operation.requested"]
    assert {event.fields["asked_by"] for event in asked} == {"nightly"}
