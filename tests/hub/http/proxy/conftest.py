from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub import ModuleInfo
from tests.hub.http.proxy.served import Served, serving


@pytest.fixture(scope="package")
def served() -> Iterator[Served]:
    """One hub and server for the tests that need no other; its module `m` is a raw instance."""
    with tempfile.TemporaryDirectory(prefix="modhub-test-") as directory, serving(Path(directory)) as server:
        server.provision("m")
        yield server


@pytest.fixture
def raw(served: Served) -> ModuleInfo:
    """The raw instance."""
    return served.run(served.hub.module("m"))
