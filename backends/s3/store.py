"""The store on S3.

What must hold:

- An object is made by one atomic request, under its condition; a guard is checked right before each request.
- Content carries its checksum both ways: the server refuses what was damaged on its way to it, and a read that does
  not match is repeated.
- Nothing outside the prefix is ever touched.
- Opening makes no request and imports no boto3: whoever only checks a configuration pays for neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backends.blobstore import BlobInfo, Data, Guard, Purged, Remnant, check_key, check_prefix
from backends.errors import (
    BackendsError,
    BackendUnavailable,
    BlobNotFound,
    CorruptData,
    InvalidName,
    PreconditionFailed,
)
from backends.retry import Repeat
from backends.s3.body import as_file, crc32, read_most, read_within
from backends.s3.bucket import Bucket, acknowledged, etag_of
from backends.s3.failures import DAMAGED
from backends.s3.listings import Entry, objects, pages, uploads, versions
from backends.s3.multipart import put_parts
from backends.s3.options import Settings
from backends.s3.purge import abort_all, batched, expunge, purge, remove

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SINGLE = 16 * 1024 * 1024
"""Bytes up to which an object is written by one request."""
_CHECK_S = 10.0  # a check is asked for by somebody who waits


class S3Store:
    """Objects below a prefix of a bucket.

    Args:
        settings: Where and how.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket = Bucket(settings)

    @property
    def uri(self) -> str:
        """The place as a URI."""
        return self._settings.uri

    def __repr__(self) -> str:
        return f"S3Store({self.uri!r})"

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        guard: Guard | None = None,
    ) -> str:
        """See `BlobStore.put`. Repeated after a lost answer, a conditional write finds its own work in its way."""
        bucket, full = self._bucket, self._bucket.key(check_key(key))
        view = memoryview(data).cast("B")
        conditions: dict[str, Any] = {}
        if if_match is not None:
            conditions["IfMatch"] = if_match
        if if_none_match:
            conditions["IfNoneMatch"] = "*"
        if len(view) > SINGLE:
            return put_parts(bucket, key, view, conditions, guard)
        checksum = crc32(view)

        def request(s3: S3Client) -> str:
            answer = s3.put_object(
                Bucket=bucket.name,
                Key=full,
                Body=as_file(view),
                ChecksumCRC32=checksum,
                **bucket.put_arguments,
                **conditions,
            )
            return acknowledged(answer, checksum, key)

        # AWS answers If-Match on nothing with 404, others with 412.
        missing = PreconditionFailed(f"{key} does not exist")
        return bucket.run(f"writing {key}", request, guard=guard, missing=missing)

    def get(self, key: str, *, limit: int | None = None) -> tuple[bytes, str]:
        """See `BlobStore.get`."""
        bucket, full = self._bucket, self._bucket.key(check_key(key))

        def request(s3: S3Client) -> tuple[bytes, str]:
            answer = s3.get_object(Bucket=bucket.name, Key=full, ChecksumMode="ENABLED")
            data = read_within(answer, limit)
            if data is None:
                answer["Body"].close()
                raise CorruptData(f"{key} is larger than the {limit} bytes that it may have", blob=key)
            return data, etag_of(answer, key)

        try:
            return bucket.run(f"reading {key}", request, missing=BlobNotFound(key))
        except CorruptData as error:
            error.blob = key
            raise

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See `BlobStore.get_range`. Ranges come without a checksum: what is read by them has hashes."""
        bucket, full = self._bucket, self._bucket.key(check_key(key))
        # No range is empty: of nothing, one byte is asked for, to learn whether the object exists.
        wanted = f"bytes={offset}-{offset + max(length, 1) - 1}"

        def request(s3: S3Client) -> bytes:
            try:
                answer = s3.get_object(Bucket=bucket.name, Key=full, Range=wanted)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "InvalidRange":
                    return b""  # it begins beyond the end
                raise
            given = answer.get("ContentRange", "")
            if not given:  # a server may ignore the range, and then says nothing of one
                return read_most(answer["Body"], offset + length)[offset : offset + length]
            if not given.startswith(f"bytes {offset}-"):
                raise Repeat(BackendUnavailable(f"reading {key}: the server gave another range"), most=DAMAGED)
            return read_most(answer["Body"], max(length, 1))[:length]

        return bucket.run(f"reading {key}", request, missing=BlobNotFound(key))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore.list`."""
        for entries in pages(objects, self._bucket, self._prefix(prefix)):
            for entry in entries:
                key = self._name(entry)
                # Folders that consoles make, and what else is no module's object, is not ours; `remains` shows it.
                if _is_key(key):
                    yield BlobInfo(key, entry.size, entry.etag)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See `BlobStore.delete`."""
        bucket, full = self._bucket, self._bucket.key(check_key(key))
        conditions: dict[str, Any] = {} if if_match is None else {"IfMatch": if_match}
        # Compared before as well: there are servers that ignore the condition of a deletion.
        guard = None if if_match is None else Guard.unchanged(key, if_match)

        def request(s3: S3Client) -> None:
            s3.delete_object(Bucket=bucket.name, Key=full, **conditions)

        missing: BackendsError = BlobNotFound(key) if if_match is None else PreconditionFailed(f"{key} does not exist")
        try:
            bucket.run(f"deleting {key}", request, guard=guard, missing=missing)
        except BlobNotFound:
            return

    def delete_many(self, keys: Iterable[str], *, guard: Guard | None = None) -> int:
        """See `BlobStore.delete_many`. S3 does not tell which of them existed, so all are counted."""
        count = 0
        for batch in batched(Entry(self._bucket.key(check_key(key)), "blob") for key in keys):
            remove(self._bucket, batch, guard)
            count += len(batch)
        return count

    def sweep_unfinished(self, prefix: str) -> int:
        """See `BlobStore.sweep_unfinished`."""
        found = [entry for entries in pages(uploads, self._bucket, self._prefix(prefix)) for entry in entries]
        abort_all(self._bucket, found)
        return len(found)

    def purge(self, prefix: str, *, keep: str, guard: Guard | None = None) -> Purged:
        """See `BlobStore.purge`."""
        if not check_prefix(prefix) or not check_key(keep).startswith(prefix):
            raise ValueError("purge works on a prefix below the top and keeps one object in it")
        return purge(self._bucket, self._prefix(prefix), self._bucket.key(keep), guard)

    def expunge(self, key: str, *, if_match: str) -> Purged:
        """See `BlobStore.expunge`."""
        return expunge(self._bucket, check_key(key), if_match)

    def remains(self, prefix: str) -> Iterator[Remnant]:
        """See `BlobStore.remains`. Nothing is shown only once three listings are seen to be empty."""
        below = self._prefix(prefix)
        empty = True
        for lister in (versions, uploads, objects):
            if lister is objects and not empty:
                return  # they were among the versions
            for entries in pages(lister, self._bucket, below):
                for entry in entries:
                    empty = False
                    yield Remnant(self._name(entry), entry.kind, entry.size)

    def check(self) -> None:
        """See `BlobStore.check`: the bucket answers, and these credentials may list it."""
        bucket = self._bucket

        def request(s3: S3Client) -> None:
            s3.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix, MaxKeys=1)

        bucket.run(f"checking {self.uri}", request, deadline=min(_CHECK_S, self._settings.deadline))

    def close(self) -> None:
        """See `Closeable.close`."""
        self._bucket.close()

    def _prefix(self, prefix: str) -> str:
        return self._bucket.key(check_prefix(prefix))

    def _name(self, entry: Entry) -> str:
        return entry.key.removeprefix(self._bucket.prefix)


def _is_key(key: str) -> bool:
    try:
        check_key(key)
    except InvalidName:
        return False
    return True
