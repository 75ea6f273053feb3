from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub import ModuleInfo
from tests.hub.http.proxy.served import Served, serving


@pytest.fixture(scope="package", params=[False, True], ids=["asgi", "lane"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """One hub and server for the tests that need no other; its module `m` is a raw instance.

    Once on a server that knows nothing of the fast lane, once on the hub's own, where it is open.
    """
    with (
        tempfile.TemporaryDirectory(prefix="modhub-test-") as directory,
        serving(Path(directory), lane=request.param) as server,
    ):
        server.provision("m")
        yield server


@pytest.fixture
def raw(served: Served) -> ModuleInfo:
    """The raw instance."""
    return served.run(served.hub.module("m"))
