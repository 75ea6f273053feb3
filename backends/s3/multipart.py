"""Objects too large for one request: parts, then one request that makes an object of them, or none.

One part after the other: only manifests of very many files are this large, and the threads belong to the transfer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from backends.blobstore import Guard
from backends.cancellation import pause
from backends.errors import BackendsError, PreconditionFailed
from backends.s3.body import as_file, crc32
from backends.s3.bucket import Bucket, acknowledged
from backends.s3.failures import UploadGone

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

PART = 16 * 1024 * 1024
_STARTS = 3  # a sweep may end an upload under way; so often in a row is no accident


def put_parts(bucket: Bucket, key: str, view: memoryview, conditions: Mapping[str, Any], guard: Guard | None) -> str:
    """Write an object in parts.

    Args:
        bucket: Where.
        key: Its key.
        view: Its content, more than one part of it.
        conditions: `IfMatch` or `IfNoneMatch`, for the request that makes the object.
        guard: Checked before each request.

    Returns:
        Its etag.

    Raises:
        BackendsError: It was not written, and the upload was aborted; if that failed too, it is left to a sweep.
    """
    start = 0
    while True:
        start += 1
        try:
            return _upload(bucket, key, view, conditions, guard)
        except UploadGone:
            # Sent anew from the start. If it was gone because it was complete and the answer was lost, it is written
            # twice, or the condition fails; the caller settles that as for any write.
            if start == _STARTS:
                raise


def _upload(bucket: Bucket, key: str, view: memoryview, conditions: Mapping[str, Any], guard: Guard | None) -> str:
    doing = f"writing {key}"
    place: dict[str, Any] = {"Bucket": bucket.name, "Key": bucket.key(key)}

    def create(s3: S3Client) -> tuple[str, bool]:
        answer = s3.create_multipart_upload(
            **place, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT", **bucket.put_arguments
        )
        # Servers that know only the older kind say so, or nothing.
        return answer["UploadId"], answer.get("ChecksumType") == "FULL_OBJECT"

    upload, whole = bucket.run(doing, create, guard=guard)
    try:
        parts: list[CompletedPartTypeDef] = []
        pieces = [view[start : start + PART] for start in range(0, len(view), PART)]
        for number, piece in enumerate(pieces, 1):
            pause(0)  # so that cancelling need not wait for all parts
            parts.append(_part(bucket, key, upload, number=number, piece=piece, guard=guard))
        checksum: dict[str, Any] = (
            {"ChecksumCRC32": crc32(view), "ChecksumType": "FULL_OBJECT", "MpuObjectSize": len(view)} if whole else {}
        )

        def complete(s3: S3Client) -> str:
            try:
                answer = s3.complete_multipart_upload(
                    **place, UploadId=upload, MultipartUpload={"Parts": parts}, **checksum, **conditions
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ConditionalRequestConflict":
                    # Unlike after that of a simple write, the parts have to be sent again.
                    raise UploadGone(f"{doing}: another write was under way") from None
                raise
            return acknowledged(answer, checksum.get("ChecksumCRC32"), key)

        return bucket.run(doing, complete, guard=guard, missing=PreconditionFailed(f"{key} does not exist"))
    except BaseException:
        abort(bucket, key, upload)
        raise


def _part(
    bucket: Bucket, key: str, upload: str, *, number: int, piece: memoryview, guard: Guard | None
) -> CompletedPartTypeDef:
    checksum = crc32(piece)

    def send(s3: S3Client) -> str:
        answer = s3.upload_part(
            Bucket=bucket.name,
            Key=bucket.key(key),
            UploadId=upload,
            PartNumber=number,
            Body=as_file(piece),
            ChecksumCRC32=checksum,
        )
        return acknowledged(answer, checksum, key)

    return {
        "PartNumber": number,
        "ETag": bucket.run(f"writing {key}", send, guard=guard),
        "ChecksumCRC32": checksum,
    }


def abort(bucket: Bucket, key: str, upload: str) -> None:
    """Abort an upload after a failure, which stays the one to be told: what can't be aborted is left to a sweep."""

    def request(s3: S3Client) -> None:
        s3.abort_multipart_upload(Bucket=bucket.name, Key=bucket.key(key), UploadId=upload)

    try:
        bucket.run(f"aborting {key}", request, deadline=_ABORT_S)
    except BackendsError:
        return


_ABORT_S = 5.0  # the failure before it has most likely used up the patience already
