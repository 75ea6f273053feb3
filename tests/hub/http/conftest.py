from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub import Hub
from hub.http import HttpConfig, create_app
from tests.hub.conftest import MakeHub
from tests.hub.http.serving import Served

Serve = Callable[..., Served]


@pytest.fixture
def serve(make_hub: MakeHub) -> Iterator[Serve]:
    """Serve hubs; when the test ends, the servers end before their hubs."""
    running: list[Served] = []

    def start(hub: Hub | None = None, **options: Any) -> Served:
        hub = hub or make_hub()
        served = Served(create_app(hub, HttpConfig(**options)))
        running.append(served)
        return served.start()

    yield start
    for served in running:
        served.stop()


__all__ = ["Serve"]
