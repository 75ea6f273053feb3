"""Objects in parts: whole or not there, and never a forgotten upload."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectTimeoutError

from backends import BackendsError, BackendUnavailable, Guard, PreconditionFailed, TransferCancelled
from backends.cancellation import watching
from tests.backends.conftest import Clock
from tests.backends.s3.real import Real, counting, hooked
from tests.backends.s3.scripted import Answer, Scripted, failure, xml

DATA = os.urandom(16 * 1024 * 1024 + 5) * 2


def at_part(real: Real, number: int, do: Callable[[], object], *, times: int = 1) -> list[int]:
    """Do something before a part is sent."""
    fired: list[int] = []

    def hook(request: AWSPreparedRequest, **_: object) -> None:
        if f"partNumber={number}&" in f"{request.url}&":
            fired.append(number)
            if len(fired) <= times:
                do()

    hooked(real.store, "before-send.s3.UploadPart", hook)
    return fired


def test_parts_and_checksums(real: Real) -> None:
    """Content of several parts is put in as many requests as there are parts and two, and read back in one."""
    requests = counting(real.store)
    etag = real.store.put("m/large", bytearray(DATA))
    assert requests == {"CreateMultipartUpload": 1, "UploadPart": 3, "CompleteMultipartUpload": 1}
    assert real.store.get("m/large") == (DATA, etag)
    assert real.uploads() == []


def test_failure_leaves_no_upload(real: Real, clock: Clock) -> None:
    """A part that can't be sent fails the write, and its upload is aborted."""

    def fail() -> None:
        raise ConnectTimeoutError(endpoint_url="http://x")

    fired = at_part(real, 2, fail, times=1000)
    with pytest.raises(BackendUnavailable):
        real.store.put("m/large", DATA)
    assert len(fired) > 2
    assert real.uploads() == []
    assert list(real.store.remains("m/")) == []


def test_cancelling_leaves_no_upload(real: Real) -> None:
    """A token that is set while parts are sent ends the write before the next part, and its upload is aborted."""
    token = threading.Event()
    at_part(real, 1, token.set)
    requests = counting(real.store)
    with watching(token), pytest.raises(TransferCancelled):
        real.store.put("m/large", DATA)
    assert requests["UploadPart"] == 1
    assert real.uploads() == []
    assert list(real.store.remains("m/")) == []


def test_a_lost_claim_ends_it(real: Real) -> None:
    """A guard that breaks while parts are sent ends the write before the next request, and its upload is aborted."""
    guard = Guard.unchanged("m/head", real.store.put("m/head", b"1"))
    at_part(real, 1, lambda: real.client.put_object(Bucket=real.bucket, Key="p/m/head", Body=b"2"))
    requests = counting(real.store)
    with pytest.raises(PreconditionFailed):
        real.store.put("m/large", DATA, guard=guard)
    assert requests["UploadPart"] == 1
    assert real.uploads() == []
    assert [item.name for item in real.store.remains("m/")] == ["m/head"]


def test_a_failed_condition_leaves_no_upload(real: Real) -> None:
    """Conditions are those of the moment at which the object is made."""
    at_part(real, 3, lambda: real.client.put_object(Bucket=real.bucket, Key="p/m/large", Body=b"other"))
    with pytest.raises(PreconditionFailed):
        real.store.put("m/large", DATA, if_none_match=True)
    assert real.store.get("m/large")[0] == b"other"
    assert real.uploads() == []


def test_a_swept_upload_starts_again(real: Real) -> None:
    """A write whose upload is swept away under it sends everything again."""
    at_part(real, 2, lambda: real.store.sweep_unfinished("m/"))
    real.store.put("m/large", DATA)
    assert real.store.get("m/large")[0] == DATA
    assert real.uploads() == []


def test_swept_again_and_again(real: Real) -> None:
    """A write whose upload never lives long enough fails typed."""
    at_part(real, 2, lambda: real.store.sweep_unfinished("m/"), times=1000)
    with pytest.raises(BackendUnavailable):
        real.store.put("m/large", DATA)
    assert real.uploads() == []


CREATED = xml("InitiateMultipartUploadResult", "<UploadId>u1</UploadId>")
PART = Answer(headers={"ETag": '"p"'})


@pytest.mark.parametrize(
    ("completed", "error"),
    [
        (failure("AccessDenied", 403), BackendsError),
        (failure("PreconditionFailed", 412), PreconditionFailed),
        (failure("NoSuchKey", 404), PreconditionFailed),
        # S3 may begin to answer before it knows how it ends.
        (failure("AccessDenied", 200), BackendsError),
    ],
)
def test_completion_fails(server: Scripted, clock: Clock, completed: Answer, error: type[BackendsError]) -> None:
    """An upload that can't be completed is aborted; an abort that fails too hides nothing of why."""
    server.then(CREATED, PART, PART, PART, completed, failure("AccessDenied", 403))
    with pytest.raises(error) as caught:
        server.store().put("m/large", DATA, if_match='"1"')
    assert "aborting" not in str(caught.value)
    assert server.made == ["POST", "PUT", "PUT", "PUT", "POST", "DELETE"]
    assert server.requests[4].headers["If-Match"] == '"1"'


def test_a_conflict_sends_all_parts_again(server: Scripted, clock: Clock) -> None:
    """Another write at the moment of completion has the whole upload repeated."""
    done = xml("CompleteMultipartUploadResult", "<ETag>&quot;2&quot;</ETag>")
    conflict = failure("ConditionalRequestConflict", 409)
    server.then(CREATED, PART, PART, PART, conflict, Answer(204), CREATED, PART, PART, PART, done)
    assert server.store().put("m/large", DATA, if_none_match=True) == '"2"'
    assert server.made.count("PUT") == 6
