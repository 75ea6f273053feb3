from pathlib import Path

import pytest

from backends import open_store
from backends.conformance import BlobStoreConformance, Opener


class TestFileStore(BlobStoreConformance):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return lambda: open_store((tmp_path / "store").as_uri())
