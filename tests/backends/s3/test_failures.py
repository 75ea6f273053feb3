"""Which answers are worth another attempt, and what the others say, from a server that answers as it is told."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate

import pytest

from backends import (
    BackendDenied,
    BackendFull,
    BackendMisconfigured,
    BackendsError,
    BackendUnavailable,
    BlobNotFound,
    BlobStore,
    CorruptData,
    EraseIncomplete,
    Guard,
    InvalidName,
    PreconditionFailed,
    open_store,
)
from backends.retry import Repeat
from tests.backends.conftest import Clock
from tests.backends.s3.scripted import DONE, ETAG, RESET, Answer, Scripted, failure, listing, xml
from tests.s3_servers import SECRET_KEY


def checksum(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def content(data: bytes, **headers: str) -> Answer:
    return Answer(body=data, headers={"ETag": ETAG, **headers})


PASSING = {
    "500": failure("InternalError", 500),
    "502 of a proxy": Answer(502, b"<html>bad gateway"),
    "503": failure("ServiceUnavailable", 503),
    "slow down": failure("SlowDown", 503),
    "504": Answer(504),
    "429": failure("TooManyRequests", 429),
    "throttled with 400": failure("ThrottlingException"),
    "request timed out": failure("RequestTimeout"),
    "409": failure("ConditionalRequestConflict", 409),
    "body cut off on the way up": failure("IncompleteBody"),
    "body damaged on the way up": failure("BadDigest"),
    "reset": RESET,
    "success of which only the head came": Answer(headers={"ETag": ETAG}, length=5),
}


@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
def test_a_write_is_repeated(server: Scripted, clock: Clock, answer: Answer) -> None:
    """A write whose failure may pass is made again, with its whole content."""
    server.then(answer, answer, DONE)
    assert server.store().put("m/a", b"content") == ETAG
    assert [(request.method, request.body) for request in server.requests] == [("PUT", b"content")] * 3
    assert len(clock.waits) == 2


DAMAGED = {
    "reset": RESET,
    "cut off": Answer(body=b"cont", headers={"ETag": ETAG}, length=7),
    "flipped": content(b"Content", **{"x-amz-checksum-crc32": checksum(b"content")}),
    "503": failure("SlowDown", 503),
    "no etag": Answer(body=b"content"),
}


@pytest.mark.parametrize("answer", DAMAGED.values(), ids=DAMAGED)
def test_a_read_is_repeated(server: Scripted, clock: Clock, answer: Answer) -> None:
    """A read that breaks off, or does not match its checksum, is made again; what is returned is whole."""
    server.then(answer, answer, content(b"content", **{"x-amz-checksum-crc32": checksum(b"content")}))
    assert server.store().get("m/a") == (b"content", ETAG)
    assert server.made == ["GET"] * 3
    assert server.requests[0].headers["x-amz-checksum-mode"] == "ENABLED"


def test_a_cut_off_listing_is_repeated(server: Scripted, clock: Clock) -> None:
    """A listing that can't be parsed is asked for again, not taken as empty."""
    whole = listing("ListBucketResult", "<Contents><Key>p/m/a</Key><Size>3</Size></Contents>")
    server.then(Answer(body=whole.body[:40]), whole)
    assert [(info.key, info.size) for info in server.store().list("m/")] == [("m/a", 3)]


LASTING: dict[str, tuple[Answer, type[BackendsError], str]] = {
    "no bucket": (failure("NoSuchBucket", 404), BackendMisconfigured, "Create the bucket"),
    "no permission": (failure("AccessDenied", 403), BackendDenied, "s3:PutObject"),
    "403 without a body": (Answer(403), BackendDenied, "s3:PutObject"),
    "unknown key": (failure("InvalidAccessKeyId", 403), BackendDenied, "unknown to the server"),
    "wrong secret": (failure("SignatureDoesNotMatch", 403), BackendDenied, "does not belong to the access key"),
    "expired": (failure("ExpiredToken", 400), BackendDenied, "expired"),
    "redirected": (
        failure("PermanentRedirect", 301, **{"x-amz-bucket-region": "eu-west-1"}),
        BackendMisconfigured,
        "region=eu-west-1",
    ),
    "region in the body": (
        failure("AuthorizationHeaderMalformed", 400, extra="<Region>eu-north-1</Region>"),
        BackendMisconfigured,
        "region=eu-north-1",
    ),
    "region in words": (
        failure("AuthorizationHeaderMalformed", 400, "the region 'x' is wrong; expecting 'ap-south-1'"),
        BackendMisconfigured,
        "region=ap-south-1",
    ),
    "redirected to nowhere": (failure("PermanentRedirect", 301), BackendMisconfigured, "Set the bucket's region"),
    "quota": (failure("QuotaExceeded", 403), BackendFull, "quota"),
    "507": (Answer(507), BackendFull, "space"),
    "disk full": (failure("InternalError", 500, "write: no space left on device"), BackendFull, "space"),
    "key disabled": (failure("KMS.DisabledException", 400, "the key is disabled"), BackendDenied, "SSEKMSKeyId"),
    "not known": (failure("NotImplemented", 501), BackendMisconfigured, "server that has"),
    "bad storage class": (failure("InvalidStorageClass", 400, "no such class"), BackendMisconfigured, "put"),
    "key too long": (failure("KeyTooLongError", 400), InvalidName, "prefix"),
    "condition": (failure("PreconditionFailed", 412), PreconditionFailed, "somebody else"),
    "condition on nothing": (failure("NoSuchKey", 404), PreconditionFailed, "somebody else"),
}


@pytest.mark.parametrize(("answer", "error", "hint"), LASTING.values(), ids=LASTING)
def test_a_lasting_failure_is_told_at_once(
    server: Scripted, clock: Clock, answer: Answer, error: type[BackendsError], hint: str
) -> None:
    """What no repetition changes is not repeated; the error is typed and its hint says what to do."""
    server.then(answer)
    with pytest.raises(error) as caught:
        server.store().put("m/a", b"content", if_match=ETAG)
    assert type(caught.value) is error or error is BackendMisconfigured
    assert hint.lower() in caught.value.hint.lower()
    assert not isinstance(caught.value, BackendUnavailable)
    assert clock.waits == []
    assert server.made.count("PUT") <= 2  # botocore itself follows a redirect once


@pytest.mark.parametrize(("offset", "said"), [(-900, "900 s ahead of"), (900, "900 s behind")])
def test_clock_skew_is_measured(server: Scripted, clock: Clock, offset: int, said: str) -> None:
    """A clock that is off is told with how much and in which direction."""
    answer = failure("RequestTimeTooSkewed", 403)
    server.then(answer)
    server.date = formatdate(time.time() + offset, usegmt=True)
    with pytest.raises(BackendMisconfigured, match="clock is") as caught:
        server.store().get("m/a")
    assert said.split()[2] in str(caught.value)
    seconds = int(str(caught.value).partition("clock is ")[2].split()[0])
    assert abs(seconds - 900) <= 5
    assert "NTP" in caught.value.hint


def test_redirects_to_nowhere_are_not_followed(server: Scripted, clock: Clock) -> None:
    """A server or proxy that redirects whatever it is asked is told after one request."""
    server.then(Answer(301, headers={"Location": "https://elsewhere.invalid/"}))
    with pytest.raises(BackendMisconfigured, match="another region or at another endpoint"):
        server.store().get("m/a")
    assert server.made == ["GET"]


def test_attempts_end_at_the_deadline(server: Scripted, clock: Clock) -> None:
    """A server that stays overloaded is unavailable, by the time that was given to it."""
    server.then(failure("SlowDown", 503))
    start = clock.now
    with pytest.raises(BackendUnavailable, match="SlowDown"):
        server.store(deadline=20).get("m/a")
    assert 12 <= clock.now - start <= 20


def test_nobody_there(server: Scripted, clock: Clock) -> None:
    """A refused connection is repeated, then unavailable."""
    with pytest.raises(BackendUnavailable) as caught:
        unreachable("127.0.0.1:1").get("m/a")
    assert "endpoint" in caught.value.hint
    assert len(clock.waits) > 3


def test_no_such_host(server: Scripted, clock: Clock) -> None:
    """A name that does not resolve is told as such."""
    with pytest.raises(BackendUnavailable) as caught:
        unreachable("no-such-host.invalid").get("m/a")
    assert "does not resolve" in caught.value.hint


def unreachable(host: str) -> BlobStore:
    return open_store(f"s3://demo?endpoint=http://{host}&region=us-east-1", deadline=30)


def test_damage_in_the_store_is_told_soon(server: Scripted, clock: Clock) -> None:
    """Content that never matches its checksum is corrupt after a few reads, and named."""
    server.then(content(b"Content", **{"x-amz-checksum-crc32": checksum(b"content")}))
    with pytest.raises(CorruptData) as caught:
        server.store(deadline=10_000).get("m/a")
    assert caught.value.blob == "m/a"
    assert len(server.requests) == 4


def test_the_server_s_checksum_is_verified(server: Scripted, clock: Clock) -> None:
    """A write is not done while the server says that it has something else."""
    server.then(content(b"", **{"x-amz-checksum-crc32": checksum(b"Content")}))
    with pytest.raises(BackendUnavailable, match="something else"):
        server.store(deadline=10_000).put("m/a", b"content")
    assert len(server.requests) == 4
    assert server.requests[0].headers["x-amz-checksum-crc32"] == checksum(b"content")


def test_size_is_checked_before_the_body(server: Scripted, clock: Clock) -> None:
    """An object beyond the reader's limit is refused by its header; its body is not waited for."""
    server.then(Answer(headers={"ETag": ETAG}, length=10**12))
    with pytest.raises(CorruptData, match="larger than the 100 bytes"):
        server.store().get("m/a", limit=100)


def test_missing_object(server: Scripted, clock: Clock) -> None:
    """A read of nothing names the key as the caller knows it."""
    server.then(failure("NoSuchKey", 404))
    for read in (lambda: server.store().get("m/a"), lambda: server.store().get_range("m/a", 0, 1)):
        with pytest.raises(BlobNotFound) as caught:
            read()
        assert caught.value.key == "m/a"
    server.store().delete("m/a")
    with pytest.raises(PreconditionFailed):
        server.store().delete("m/a", if_match=ETAG)


def test_a_guard_is_checked_before_each_attempt(server: Scripted, clock: Clock) -> None:
    """A write that is repeated under a guard is not, once the guard broke in between."""
    server.then(content(b"head"), failure("SlowDown", 503), Answer(body=b"head", headers={"ETag": '"2"'}))
    with pytest.raises(PreconditionFailed):
        server.store().put("m/a", b"content", guard=Guard.unchanged("m/head", ETAG))
    assert server.made == ["GET", "PUT", "GET"]


def test_a_guard_that_can_not_be_checked_has_not_failed(server: Scripted, clock: Clock) -> None:
    """Trouble in reading the guard's object is that trouble, not a lost claim."""
    server.then(failure("NoSuchBucket", 404))
    with pytest.raises(BackendMisconfigured):
        server.store().put("m/a", b"content", guard=Guard.unchanged("m/head", ETAG))
    server.answers[:] = [failure("SlowDown", 503)]
    with pytest.raises(BackendUnavailable):
        server.store().put("m/a", b"content", guard=Guard.unchanged("m/head", ETAG))


def test_a_lost_acknowledgement(server: Scripted, clock: Clock) -> None:
    """A conditional write that was applied but not acknowledged fails its condition when repeated, and no worse."""
    server.then(RESET, failure("PreconditionFailed", 412))
    with pytest.raises(PreconditionFailed):
        server.store().put("m/head", b"1", if_none_match=True)


def errors(*codes: str) -> Answer:
    return xml("DeleteResult", "".join(f"<Error><Key>p/m/a</Key><Code>{code}</Code></Error>" for code in codes))


def test_failures_of_a_batch(server: Scripted, clock: Clock) -> None:
    """Within an answer that is a success, passing failures repeat the batch, lasting ones raise, missing keys do not."""
    server.then(errors("InternalError", "NoSuchKey"), errors("SlowDown"), errors("NoSuchKey", "NoSuchVersion"))
    assert server.store().delete_many(["m/a", "m/b"]) == 2
    assert server.made == ["POST"] * 3
    server.answers[:] = [errors("AccessDenied")]
    with pytest.raises(BackendDenied):
        server.store().delete_many(["m/a"])


def test_batches_are_guarded(server: Scripted, clock: Clock) -> None:
    """A guard is checked for each batch of a thousand."""
    changed = Answer(headers={"ETag": '"2"'})
    server.then(content(b""), xml("DeleteResult"), content(b""), xml("DeleteResult"), changed)
    with pytest.raises(PreconditionFailed):
        server.store().delete_many((f"m/{n}" for n in range(2500)), guard=Guard.unchanged("m/head", ETAG))
    assert server.made == ["GET", "POST", "GET", "POST", "GET"]


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 409, 412, 500, 501])
def test_no_secret_in_any_error(server: Scripted, clock: Clock, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Whatever a server sends back, credentials and signatures stand in no message, hint or chained error."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hunter2-token")
    code = "AccessDenied" if status in {401, 403} else f"InvalidRequest {SECRET_KEY}"
    server.then(failure(code, status, f"you sent {SECRET_KEY} hunter2-token Signature=hunter2"))
    store = server.store(deadline=1)
    calls: list[Callable[[], object]] = [
        lambda: store.put("m/a", b"1"),
        lambda: store.get("m/a"),
        lambda: list(store.remains("m/")),
        lambda: store.delete_many(["m/a"]),
        store.check,
    ]
    raised = [error for error in map(raised_by, calls) if error is not None]
    assert raised
    for error in raised:
        told = f"{error!r} {error} {error.hint} {error.__cause__!r} {error.__context__!r}"
        assert "Authorization" not in told
        assert "AWS4-HMAC" not in told
        # Nothing of botocore's is chained, which may hold signed requests.
        assert error.__cause__ is None
        assert error.__context__ is None or isinstance(error.__context__, (Repeat, BackendsError))
        assert "hunter2" not in told
        assert SECRET_KEY not in told


def raised_by(call: Callable[[], object]) -> BackendsError | None:
    try:
        call()
    except BackendsError as error:
        return error
    return None


def test_server_without_a_listing_of_versions(server: Scripted, clock: Clock) -> None:
    """Where versions or uploads can't be listed there are none, and objects are listed plainly."""
    unknown = failure("NotImplemented", 501)
    found = listing("ListBucketResult", "<Contents><Key>p/m/a</Key><Size>3</Size></Contents>")
    server.then(unknown, found, unknown)
    assert [item.kind for item in server.store().remains("m/")] == ["blob"]


def test_listings_that_are_denied_prove_nothing(server: Scripted, clock: Clock) -> None:
    """A listing that may not be made is an error, never an empty one."""
    empty, denied = listing("ListVersionsResult"), failure("AccessDenied", 403)
    for answers in ([denied], [empty, denied], [empty, empty, denied]):
        server.answers[:] = answers
        with pytest.raises(BackendDenied):
            list(server.store().remains("m/"))


def test_listing_that_does_not_advance(server: Scripted, clock: Clock) -> None:
    """A server that promises more and gives the same again is broken, not endless."""
    server.then(
        listing("ListBucketResult", "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>")
    )
    with pytest.raises(BackendMisconfigured, match="there is more"):
        list(server.store().list("m/"))
    assert len(server.requests) == 2


def test_listings_beyond_the_prefix_are_dropped(server: Scripted, clock: Clock) -> None:
    """A server that ignores the prefix does not make a purge strike a neighbour."""
    keys = ("p/m/a", "p/m-1/a", "p/n/a", "m/a")
    versions = "".join(f"<Version><Key>{key}</Key><VersionId>null</VersionId></Version>" for key in keys)
    server.then(
        listing("ListMultipartUploadsResult", "<Upload><Key>p/n/a</Key><UploadId>1</UploadId></Upload>"),
        listing("ListVersionsResult", versions),
        xml("DeleteResult"),
        listing("ListBucketResult"),
    )
    server.store().purge("m/", keep="m/head")
    deleted = [request.body for request in server.requests if request.method == "POST"]
    assert len(deleted) == 1
    assert deleted[0].count(b"<Key>") == 1
    assert b"<Key>p/m/a</Key>" in deleted[0]
    assert "DELETE" not in server.made


def test_what_can_not_be_deleted_is_told(server: Scripted, clock: Clock) -> None:
    """Objects that stay listed after an acknowledged deletion end the purge with an error."""
    locked = listing("ListVersionsResult", "<Version><Key>p/m/a</Key><VersionId>1</VersionId></Version>")
    more = locked.body.replace(
        b"<Version>", b"<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><Version>"
    )
    answers = [listing("ListMultipartUploadsResult")]
    for _ in range(9):
        answers += [Answer(body=more), xml("DeleteResult")]
    server.then(*answers)
    with pytest.raises(EraseIncomplete, match="listed all the same") as caught:
        server.store().purge("m/", keep="m/head")
    assert "lock" in caught.value.hint


def test_extra_put_arguments_and_name(server: Scripted, clock: Clock) -> None:
    """Configured arguments go with every object that is made, and modhub says who it is."""
    put = {"ServerSideEncryption": "AES256", "StorageClass": "STANDARD_IA", "Metadata": {"by": "me"}}
    server.then(DONE)
    server.store(put=put).put("m/a", b"1")
    server.answers[:] = [failure("AccessDenied", 403)]
    with pytest.raises(BackendDenied):
        server.store(put=put).put("m/a", bytes(17 * 1024 * 1024))
    simple, multipart = server.requests
    assert "uploads" in multipart.path
    for request in (simple, multipart):
        assert request.headers["x-amz-server-side-encryption"] == "AES256"
        assert request.headers["x-amz-storage-class"] == "STANDARD_IA"
        assert request.headers["x-amz-meta-by"] == "me"
        assert request.headers["User-Agent"].startswith("modhub/")


def test_check_is_one_request(server: Scripted, clock: Clock) -> None:
    """A check lists at most one object."""
    server.then(listing("ListBucketResult"))
    server.store().check()
    assert [str(request) for request in server.requests] == [
        "GET /demo?list-type=2&prefix=p%2F&max-keys=1&encoding-type=url"
    ]
