"""The one way in which requests are made: guarded, repeated where that is worth it, and failing typed."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from backends.blobstore import Guard
from backends.errors import BackendsError, BackendUnavailable, PreconditionFailed
from backends.retry import Repeat, RetryPolicy
from backends.s3.body import read_within
from backends.s3.failures import DAMAGED, UNREADABLE, translate, unreadable
from backends.s3.options import Settings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

T = TypeVar("T")
_Client = tuple["S3Client", tuple[type[Exception], ...]]


class Bucket:
    """A bucket, and the prefix in it below which all of the store is.

    Args:
        settings: Where and how.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = settings.bucket
        self.prefix = settings.prefix
        self.put_arguments: Mapping[str, Any] = settings.put
        self._settings = settings
        self._made: _Client | None = None
        self._making = threading.Lock()

    def key(self, key: str) -> str:
        """The whole key of what the store calls `key`."""
        return self.prefix + key

    def run(
        self,
        doing: str,
        request: Callable[[S3Client], T],
        *,
        guard: Guard | None = None,
        missing: BackendsError | None = None,
        deadline: float | None = None,
    ) -> T:
        """Make a request, its answer's body included, until it succeeds or fails for good.

        Args:
            doing: What is done and to what, for errors.
            request: Makes the request; whatever reads the answer's body belongs in it.
            guard: Checked before each attempt, not only the first: between them a minute may pass.
            missing: What it means that the object is not there.
            deadline: Seconds for all attempts; the store's own unless given.

        Returns:
            What `request` returns.

        Raises:
            BackendsError: It failed; typed by cause.
        """
        client, caught = self._client()

        def attempt() -> T:
            try:
                if guard is not None:
                    self._check(guard, client)
                return request(client)
            except caught as error:
                failure = translate(error, doing, missing=missing)
            except UNREADABLE as error:
                failure = unreadable(error, doing)
            # Outside of the handler: the original, which may hold signed headers, is not even the context.
            raise failure

        return RetryPolicy(deadline or self._settings.deadline).run(attempt)

    def close(self) -> None:
        """Close the connections that no request is using; the next request makes new ones."""
        with self._making:
            if self._made is not None:
                self._made[0].close()

    def _check(self, guard: Guard, client: S3Client) -> None:
        # Not HEAD, whose errors have no body: a missing bucket would look like a missing object. And a guard may ask for
        # the content, which is small: what was damaged on its way must not be taken for a lost fence.
        try:
            answer = client.get_object(Bucket=self.name, Key=self.key(guard.key), ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NoSuchKey":
                raise
        else:
            etag = etag_of(answer, guard.key)
            content = read_within(answer, guard.limit)
            if guard.holds(content or b"", etag):
                if content is None:
                    answer["Body"].read()  # to the end, or the connection could not be used again
                return
            answer["Body"].close()  # whatever it is, it may be large
        raise PreconditionFailed(f"{guard.key} is gone or has changed")

    def _client(self) -> _Client:
        with self._making:  # making a client is not safe on many threads at once
            if self._made is None:
                from backends.s3 import client  # noqa: PLC0415 - imports boto3, which opening a store must not

                try:
                    made = client.make_client(self._settings)
                except (*client.CAUGHT, ValueError) as error:  # the latter of endpoints that botocore refuses
                    failure = translate(error, f"opening {self._settings.uri}")
                else:
                    # Nobody has to close a store: its connections end with it at the latest.
                    weakref.finalize(self, made.close)
                    self._made = made, client.CAUGHT
                    return self._made
                raise failure.error if isinstance(failure, Repeat) else failure
            return self._made


def acknowledged(answer: Mapping[str, Any], checksum: str | None, key: str) -> str:
    """The etag of a write, once the server's checksum is seen to be that of what was sent.

    Args:
        answer: The server's.
        checksum: What was sent; None where none was.
        key: For the error.

    Returns:
        The etag.

    Raises:
        Repeat: The server has something else.
    """
    stored = answer.get("ChecksumCRC32")
    if checksum is not None and stored is not None and stored != checksum:
        raise Repeat(BackendUnavailable(f"writing {key}: the server stored something else"), most=DAMAGED)
    return etag_of(answer, key)


def etag_of(answer: Mapping[str, Any], key: str) -> str:
    """The etag of an answer, without which nothing could be made conditional.

    Args:
        answer: The server's.
        key: For the error.

    Returns:
        The etag.

    Raises:
        Repeat: There is none.
    """
    etag = answer.get("ETag")
    if not etag:
        raise Repeat(BackendUnavailable(f"{key}: the server's answer has no etag"), most=DAMAGED)
    return str(etag)
