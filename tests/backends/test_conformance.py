from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from backends import open_store
from backends.conformance import BlobStoreConformance, Crash, Opener
from tests.s3_servers import BUCKET, Server, client_of


class TestFileStore(BlobStoreConformance):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return lambda: open_store((tmp_path / "store").as_uri())

    @pytest.fixture
    def crash(self, tmp_path: Path) -> Crash:
        def crash(key: str) -> None:
            folder = (tmp_path / "store" / key).parent
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".tmp-1").write_bytes(b"half")

        return crash


class TestS3OnSeaweedFS(BlobStoreConformance):
    @pytest.fixture
    def opener(self, s3_uri: str) -> Opener:
        return lambda: open_store(s3_uri)

    @pytest.fixture
    def crash(self, seaweedfs_server: Server, s3_uri: str) -> Crash:
        return leaving_uploads(seaweedfs_server, s3_uri)


class TestS3OnMinistack(BlobStoreConformance):
    @pytest.fixture
    def opener(self, ministack_server: Server, s3_credentials: None, new_prefix: Callable[[], str]) -> Opener:
        uri = ministack_server.uri(new_prefix())
        return lambda: open_store(uri)

    @pytest.fixture
    def crash(self, ministack_server: Server, opener: Opener) -> Crash:
        return leaving_uploads(ministack_server, opener().uri)


def leaving_uploads(server: Server, uri: str) -> Crash:
    client, prefix = client_of(server.endpoint), urlsplit(uri).path.strip("/")

    def crash(key: str) -> None:
        upload = client.create_multipart_upload(Bucket=BUCKET, Key=f"{prefix}/{key}")["UploadId"]
        client.upload_part(Bucket=BUCKET, Key=f"{prefix}/{key}", UploadId=upload, PartNumber=1, Body=b"half")

    return crash
