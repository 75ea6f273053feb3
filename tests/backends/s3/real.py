"""A bucket on a real server, looked at past the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from backends import BlobStore, open_store
from backends.s3.store import S3Store
from tests.s3_servers import Server, client_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@dataclass
class Real:
    """A new bucket; the store is below `p/` in it."""

    server: Server
    bucket: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def client(self) -> S3Client:
        client = client_of(self.server.endpoint)
        client.create_bucket(Bucket=self.bucket)
        return client

    @cached_property
    def store(self) -> BlobStore:
        return self.another()

    def another(self) -> BlobStore:
        """The same store with a client of its own."""
        _ = self.client  # makes the bucket
        return open_store(self.server.uri("p", bucket=self.bucket), **self.options)

    def versioning(self, status: str) -> None:
        self.client.put_bucket_versioning(
            Bucket=self.bucket,
            VersioningConfiguration={"Status": "Enabled" if status == "Enabled" else "Suspended"},
        )

    def versions(self, prefix: str = "p/m/") -> list[tuple[str, str]]:
        """Keys of versions, and of markers."""
        found: list[tuple[str, str]] = []
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix):
            found += [(item.get("Key", ""), "version") for item in page.get("Versions", [])]
            found += [(item.get("Key", ""), "marker") for item in page.get("DeleteMarkers", [])]
        return found

    def uploads(self) -> list[str]:
        answer = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [item.get("Key", "") for item in answer.get("Uploads", [])]

    def leave_upload(self, key: str) -> str:
        upload = self.client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]
        self.client.upload_part(Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"half")
        return upload

    def many(self, count: int, put: Callable[[int], object]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, range(count)))


def hooked(store: BlobStore, event: str, hook: Callable[..., Any]) -> None:
    """Have boto3 call a hook, as its documentation describes."""
    assert isinstance(store, S3Store)
    client, _ = store._bucket._client()  # pyright: ignore[reportPrivateUsage] # to look at requests as they are made
    client.meta.events.register(event, hook)


def counting(store: BlobStore) -> Counter[str]:
    """Counts the requests that a store makes from now on, by operation."""
    counts: Counter[str] = Counter()

    def count(event_name: str, **_: object) -> None:
        counts[event_name.rpartition(".")[2]] += 1

    hooked(store, "before-send.s3", count)
    return counts
