from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.kinds.store_process import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data") as running:
        yield running
