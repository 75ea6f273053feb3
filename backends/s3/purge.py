"""Removal: of objects in batches, and of everything for good: versions, delete markers, unfinished uploads.

Each round lists from the start again instead of going on behind what it has just deleted: a crash midway then leaves
nothing special, and no server has to keep its place in a listing whose entries are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backends.blobstore import Guard, Purged
from backends.errors import BlobNotFound, EraseIncomplete, PreconditionFailed
from backends.s3.bucket import Bucket
from backends.s3.failures import UploadGone
from backends.s3.listings import PAGE, Entry, Lister, objects, pages, uploads, versions

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

_STUCK = 3  # listings in a row that show what was deleted and acknowledged


def remove(bucket: Bucket, entries: Iterable[Entry], guard: Guard | None) -> None:
    """Delete objects, or versions and markers by their ids, in as few requests as can be.

    Args:
        bucket: Where.
        entries: What; missing ones are no error.
        guard: Checked before each request.

    Raises:
        PreconditionFailed: The guard did not hold; some batches may have been deleted before.
    """
    for batch in batched(entries):
        # XML can't name these, so the request for many can't: they go one by one, in the URL.
        odd = [entry for entry in batch if not entry.key.isprintable()]
        plain = [entry for entry in batch if entry.key.isprintable()]
        if plain:
            _remove_batch(bucket, plain, guard)
        for entry in odd:
            _remove_one(bucket, entry, guard)


def batched(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """In lists of what one request takes."""
    iterator = iter(entries)
    while batch := list(islice(iterator, PAGE)):
        yield batch


def _remove_batch(bucket: Bucket, entries: Sequence[Entry], guard: Guard | None) -> None:
    named: list[ObjectIdentifierTypeDef] = [
        {"Key": entry.key} if entry.id is None else {"Key": entry.key, "VersionId": entry.id} for entry in entries
    ]

    def request(s3: S3Client) -> None:
        answer = s3.delete_objects(Bucket=bucket.name, Delete={"Objects": named, "Quiet": True})
        for failed in answer.get("Errors", []):
            code = failed.get("Code", "")
            if code not in {"NoSuchKey", "NoSuchVersion"}:
                # As if the request had failed so: a deletion can be repeated as a whole.
                raise ClientError({"Error": {"Code": code, "Message": failed.get("Message", "")}}, "DeleteObjects")

    bucket.run(f"deleting {len(entries)} objects such as {entries[0].key}", request, guard=guard)


def _remove_one(bucket: Bucket, entry: Entry, guard: Guard | None) -> None:
    def request(s3: S3Client) -> None:
        if entry.id is None:
            s3.delete_object(Bucket=bucket.name, Key=entry.key)
        else:
            s3.delete_object(Bucket=bucket.name, Key=entry.key, VersionId=entry.id)

    try:
        bucket.run(f"deleting {entry.key!r}", request, guard=guard, missing=BlobNotFound(entry.key))
    except BlobNotFound:
        return


def purge(bucket: Bucket, prefix: str, keep: str, guard: Guard | None) -> Purged:
    """Remove everything below a prefix but the current version of one object.

    Args:
        bucket: Where.
        prefix: The whole prefix.
        keep: The whole key of the object that stays; its older versions and markers go.
        guard: Checked between each listing and the deletion of what it found.

    Returns:
        What was removed.

    Raises:
        PreconditionFailed: The guard did not hold; some may have been removed before.
    """
    total = Purged(versions=_purge_uploads(bucket, prefix, guard))
    unnamed = False
    for lister in (versions, objects):  # the second finds something only where the first lists nothing at all
        for entries in _until_gone(lister, bucket, prefix, keep):
            remove(bucket, entries, guard)
            total += counted(entries)
            unnamed = unnamed or any(map(_is_unnamed_marker, entries))
    if unnamed:
        _retire_markers(bucket, prefix, guard)
    return total


def _is_unnamed_marker(entry: Entry) -> bool:
    return entry.kind == "marker" and entry.id == "null"


def _retire_markers(bucket: Bucket, prefix: str, guard: Guard | None, *, only: str | None = None) -> None:
    """Remove markers that outlived their deletion.

    A deletion while versioning is suspended leaves a marker whose id is "null". SeaweedFS acknowledges the deletion of
    such a one and keeps it (seen in 4.48); an object that is written over it takes it away, and can be deleted. Killed
    in between, an empty object is left, which the next purge finds.
    """
    found = [entry for page in pages(versions, bucket, prefix) for entry in page if _is_unnamed_marker(entry)]
    for entry in found:
        if only not in {None, entry.key}:
            continue

        def request(s3: S3Client, entry: Entry = entry) -> Entry:
            answer = s3.put_object(Bucket=bucket.name, Key=entry.key, Body=b"", IfNoneMatch="*")
            return Entry(entry.key, "blob", answer.get("VersionId", "null"))

        written = bucket.run(f"deleting the marker of {entry.key!r}", request, guard=guard)
        remove(bucket, [written], guard)


def counted(entries: Iterable[Entry]) -> Purged:
    """What entries count as once they are removed."""
    return sum(
        (Purged(entry.kind == "blob", entry.kind != "blob", entry.size) for entry in entries),
        Purged(),
    )


def _until_gone(lister: Lister, bucket: Bucket, prefix: str, keep: str) -> Iterator[list[Entry]]:
    """What there is to remove, listed again after each removal until nothing is left."""
    start: dict[str, str] = {}
    before: list[Entry] = []
    stuck = 0
    while True:
        page = lister(bucket, prefix, start)
        doomed = [entry for entry in page.entries if entry.key != keep or entry.kind != "blob"]
        stuck = stuck + 1 if doomed and doomed == before else 0
        if stuck == _STUCK:
            raise EraseIncomplete(
                f"deleting {doomed[0].key!r}: it was acknowledged and is listed all the same",
                hint="Look for object locks, legal holds or replication on the bucket.",
            )
        if doomed:
            yield doomed
        if page.next is None:
            return
        start, before = ({} if doomed else page.next), doomed


def _purge_uploads(bucket: Bucket, prefix: str, guard: Guard | None) -> int:
    """Abort uploads until none is listed: an abort can meet a part that is still on its way, and is then repeated."""
    seen: set[Entry] = set()
    rounds = 0
    while found := [entry for entries in pages(uploads, bucket, prefix) for entry in entries]:
        rounds = rounds + 1 if seen.issuperset(found) else 0
        if rounds == _STUCK:
            raise EraseIncomplete(
                f"aborting the upload of {found[0].key!r}: it was acknowledged and is listed all the same",
                hint="Something keeps sending parts of it: stop that, then try again.",
            )
        seen.update(found)
        abort_all(bucket, found, guard)
    return len(seen)


def abort_all(bucket: Bucket, found: Iterable[Entry], guard: Guard | None = None) -> None:
    """Abort uploads; ones that are gone are no error."""
    for entry in found:

        def request(s3: S3Client, entry: Entry = entry) -> None:
            s3.abort_multipart_upload(Bucket=bucket.name, Key=entry.key, UploadId=entry.id or "")

        try:
            bucket.run(f"aborting the upload of {entry.key!r}", request, guard=guard)
        except UploadGone:
            continue


def expunge(bucket: Bucket, key: str, etag: str) -> Purged:
    """Remove one object for good: older versions and markers first, so that until the end its current version stands.

    Args:
        bucket: Where.
        key: Its key in the store.
        etag: Of its current version.

    Returns:
        What was removed.

    Raises:
        PreconditionFailed: It is gone or has another etag; nothing was removed.
    """
    full = bucket.key(key)
    guard = Guard.unchanged(key, etag)
    found = [entry for page in pages(versions, bucket, full) for entry in page if entry.key == full]
    current = next((entry for entry in found if entry.kind == "blob"), Entry(full, "blob", etag=etag))
    if current.etag != etag and _etag_of(bucket, current) != etag:
        raise PreconditionFailed(f"{key} has changed")
    others = [entry for entry in found if entry.kind != "blob"]
    remove(bucket, others, guard)

    def request(s3: S3Client) -> str | None:
        if current.id not in {None, "null"}:
            # Names exactly what had the etag, whatever is written meanwhile.
            s3.delete_object(Bucket=bucket.name, Key=full, VersionId=current.id or "")
            return None
        answer = s3.delete_object(Bucket=bucket.name, Key=full, IfMatch=etag)
        return answer.get("VersionId") if answer.get("DeleteMarker") else None

    gone = PreconditionFailed(f"{key} does not exist")
    marker = bucket.run(f"deleting {key}", request, guard=guard, missing=gone)
    if marker is not None:
        # With versioning suspended an object has no id of its own, and a deletion without one, which alone can have a
        # condition everywhere, leaves a marker.
        remove(bucket, [Entry(full, "marker", marker)], None)
        _retire_markers(bucket, full, None, only=full)
    return counted([*others, current])


def _etag_of(bucket: Bucket, version: Entry) -> str:
    """Ask for a version's etag: SeaweedFS lists versions of more than 4 MiB with another one, which no condition takes."""
    named: dict[str, Any] = {} if version.id in {None, "null"} else {"VersionId": version.id}

    def request(s3: S3Client) -> str:
        return s3.head_object(Bucket=bucket.name, Key=version.key, **named)["ETag"]

    gone = PreconditionFailed(f"{version.key} does not exist")
    return bucket.run(f"reading the etag of {version.key}", request, missing=gone)
