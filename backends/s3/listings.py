"""What a bucket holds below a prefix, page by page: objects, versions with markers, unfinished uploads.

No order is relied on: SeaweedFS lists `a/` before `a-b`. Whatever a server lists beyond the prefix is dropped, so that
its defect can't make a purge strike a neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.errors import BackendMisconfigured, BackendUnavailable
from backends.retry import Repeat
from backends.s3.bucket import Bucket
from backends.s3.failures import DAMAGED, NotSupported

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_OWN = frozenset({"Name", "Bucket", "IsTruncated"})  # one of these every server's listing has, also an empty one
PAGE = 1000  # what one listing shows, and one deletion takes


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a bucket.

    Attributes:
        key: Its whole key.
        kind: "blob" (an object, or its current version), "version" (an older one), "marker" or "upload".
        id: Of the version or upload; None for an object of a listing without versions.
        size: Bytes.
        etag: Where there is one.
    """

    key: str
    kind: str
    id: str | None = None
    size: int = 0
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing, and what to ask the next one with; None at the end."""

    entries: list[Entry]
    next: dict[str, str] | None


Lister = Callable[[Bucket, str, dict[str, str]], Page]


def objects(bucket: Bucket, prefix: str, start: dict[str, str]) -> Page:
    """One page of the current objects."""

    def request(s3: S3Client) -> Page:
        answer = s3.list_objects_v2(Bucket=bucket.name, Prefix=prefix, MaxKeys=PAGE, **_any(start))
        entries = [_entry(item, "blob") for item in answer.get("Contents", [])]
        more = {"ContinuationToken": answer.get("NextContinuationToken", "")} if answer.get("IsTruncated") else None
        return _page(answer, prefix, entries, start, more)

    return bucket.run(f"listing {prefix}", request)


def versions(bucket: Bucket, prefix: str, start: dict[str, str]) -> Page:
    """One page of all versions and delete markers; without versioning, of the objects, each with the id "null"."""

    def request(s3: S3Client) -> Page:
        answer = s3.list_object_versions(Bucket=bucket.name, Prefix=prefix, MaxKeys=PAGE, **_any(start))
        entries = [
            _entry(item, "blob" if item.get("IsLatest") else "version", item.get("VersionId", "null"))
            for item in answer.get("Versions", [])
        ]
        entries += [_entry(item, "marker", item.get("VersionId", "null")) for item in answer.get("DeleteMarkers", [])]
        more = {
            "KeyMarker": answer.get("NextKeyMarker", ""),
            "VersionIdMarker": answer.get("NextVersionIdMarker", ""),
        }
        return _page(answer, prefix, entries, start, more if answer.get("IsTruncated") else None)

    try:
        return bucket.run(f"listing the versions of {prefix}", request)
    except NotSupported:
        # A server that can't list versions keeps none.
        return objects(bucket, prefix, start)


def uploads(bucket: Bucket, prefix: str, start: dict[str, str]) -> Page:
    """One page of the unfinished uploads."""

    def request(s3: S3Client) -> Page:
        answer = s3.list_multipart_uploads(Bucket=bucket.name, Prefix=prefix, MaxUploads=PAGE, **_any(start))
        entries = [_entry(item, "upload", item.get("UploadId", "")) for item in answer.get("Uploads", [])]
        more = {
            "KeyMarker": answer.get("NextKeyMarker", ""),
            "UploadIdMarker": answer.get("NextUploadIdMarker", ""),
        }
        return _page(answer, prefix, entries, start, more if answer.get("IsTruncated") else None)

    try:
        return bucket.run(f"listing the unfinished uploads of {prefix}", request)
    except NotSupported:
        return Page([], None)  # a server that can't list uploads has no multipart


def pages(lister: Lister, bucket: Bucket, prefix: str) -> Iterator[list[Entry]]:
    """All pages, each asked for when it is wanted.

    Args:
        lister: `objects`, `versions` or `uploads`.
        bucket: Where.
        prefix: The whole prefix, or a key to find it and what begins with it.

    Yields:
        The entries of each page.
    """
    start: dict[str, str] | None = {}
    while start is not None:
        page = lister(bucket, prefix, start)
        yield page.entries
        start = page.next


def _entry(item: Mapping[str, Any], kind: str, number: str | None = None) -> Entry:
    key: object = item.get("Key", "")
    size: object = item.get("Size", 0)
    # What occurs twice in an answer comes as a list.
    if not isinstance(key, str) or not isinstance(size, int) or size < 0:
        raise ValueError("an entry without a plain key and size")
    return Entry(key, kind, number, size, item.get("ETag"))


def _page(
    answer: Mapping[str, Any], prefix: str, entries: list[Entry], start: dict[str, str], more: dict[str, str] | None
) -> Page:
    if not _OWN.intersection(answer):
        # A page of a proxy or a portal is read as a listing of nothing, and nothing is what proves an erasure.
        raise Repeat(
            BackendUnavailable(
                f"listing {prefix}: the answer is no listing",
                hint="Something else may answer in the server's place: check the endpoint, and proxies on the way.",
            ),
            most=DAMAGED,
        )
    if more is not None:
        more = {name: marker for name, marker in more.items() if marker}
        if not more or more == start:
            raise BackendMisconfigured(
                f"listing {prefix}: the server says that there is more and does not give it",
                hint="The server's listing is broken; look for its update.",
            )
    return Page([entry for entry in entries if entry.key.startswith(prefix)], more)


def _any(start: dict[str, str]) -> dict[str, Any]:
    return dict(start)
