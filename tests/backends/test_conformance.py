from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends import open_store
from backends.conformance import BlobStoreConformance, Opener
from tests.s3_servers import Server


class TestFileStore(BlobStoreConformance):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return lambda: open_store((tmp_path / "store").as_uri())


class TestS3OnSeaweedFS(BlobStoreConformance):
    @pytest.fixture
    def opener(self, s3_uri: str) -> Opener:
        return lambda: open_store(s3_uri)


class TestS3OnMinistack(BlobStoreConformance):
    @pytest.fixture
    def opener(self, ministack_server: Server, s3_credentials: None, new_prefix: Callable[[], str]) -> Opener:
        uri = ministack_server.uri(new_prefix())
        return lambda: open_store(uri)
