"""The proxy between client and server, as boto3 sees it: transparent, but for what it was told to do."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from tests.backends.trees import workspace
from tests.fault_proxy import FaultProxy
from tests.fault_rules import Fault, Rule
from tests.s3_servers import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Server, seaweedfs

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

KEY = "folder/key"
# Above the size from which boto3 asks whether it may send a body at all.
OLD, NEW = os.urandom(2 << 20), os.urandom(2 << 20)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with workspace() as path, seaweedfs(path / "server") as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    before = threading.active_count()
    with FaultProxy(server.endpoint) as running:
        yield running
    assert threading.active_count() == before


def connected(endpoint: str, *, attempts: int = 1, read_timeout: float = 5) -> S3Client:
    config = Config(
        retries={"total_max_attempts": attempts}, s3={"addressing_style": "path"}, read_timeout=read_timeout
    )
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    return session.client("s3", endpoint_url=endpoint, config=config)


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[S3Client]:
    made = connected(proxy.endpoint)
    put(made, OLD)
    yield made
    made.close()


@pytest.fixture
def stored(server: Server) -> Iterator[Callable[[], bytes]]:
    """What the server has, seen without the proxy."""
    made = connected(server.endpoint)
    yield lambda: get(made)
    made.close()


def put(client: S3Client, content: bytes) -> None:
    client.put_object(Bucket=BUCKET, Key=KEY, Body=content)


def get(client: S3Client) -> bytes:
    return client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()


def test_transparent(client: S3Client, proxy: FaultProxy) -> None:
    """Requests of every form come through unharmed, signatures included, on connections that are kept."""
    upload = client.create_multipart_upload(Bucket=BUCKET, Key="t/parts")["UploadId"]
    part = client.upload_part(Bucket=BUCKET, Key="t/parts", UploadId=upload, PartNumber=1, Body=OLD + NEW)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(Bucket=BUCKET, Key="t/parts", UploadId=upload, MultipartUpload=parts)  # type: ignore[arg-type]
    contents = {"t/parts": OLD + NEW, "t/big": NEW, "t/small": b"x", "t/empty": b"", "t/odd \xfc+%&=": b"odd"}
    for key, content in contents.items():
        if key != "t/parts":
            client.put_object(Bucket=BUCKET, Key=key, Body=content, ChecksumAlgorithm="SHA256")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=BUCKET, Key="t/small", Body=b"y", IfNoneMatch="*")
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket=BUCKET, Key="t/missing")
    assert client.get_object(Bucket=BUCKET, Key="t/big", Range="bytes=5-9")["Body"].read() == NEW[5:10]
    for key, content in contents.items():
        assert client.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == len(content)
        assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == content
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix="t/").get("Contents", [])
    assert {item.get("Key") for item in listed} == set(contents)
    deleted = client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in contents]})
    assert deleted.get("Errors", []) == []
    assert proxy.struck == []


BEFORE = {
    Fault.RESET_BEFORE: ConnectionClosedError,
    Fault.RESET_MID_REQUEST: BotoCoreError,
    Fault.SLOW_DOWN: ClientError,
    Fault.INTERNAL_ERROR: ClientError,
    Fault.FLIPPED_REQUEST: ClientError,
}


@pytest.mark.parametrize("fault", BEFORE)
@pytest.mark.parametrize("size", [1000, len(NEW)])
def test_faults_before_the_server_acts(
    client: S3Client, proxy: FaultProxy, stored: Callable[[], bytes], fault: Fault, size: int
) -> None:
    """The client sees an error and the server keeps the old content; the next request works."""
    proxy.script(Rule(fault, method="PUT"))
    with pytest.raises(BEFORE[fault]):
        put(client, NEW[:size])
    assert [(one.method, one.fault) for one in proxy.struck] == [("PUT", fault)]
    assert stored() == OLD
    put(client, NEW[:size])
    assert stored() == NEW[:size]


def test_lost_acknowledgement(client: S3Client, proxy: FaultProxy, stored: Callable[[], bytes]) -> None:
    """The client sees a broken connection, but the server has done it."""
    proxy.script(Rule(Fault.LOST_ACKNOWLEDGEMENT, method="PUT"))
    with pytest.raises(ConnectionClosedError):
        put(client, NEW)
    assert stored() == NEW


def test_truncated(client: S3Client, proxy: FaultProxy) -> None:
    """The client is promised more than it gets."""
    proxy.script(Rule(Fault.TRUNCATED))
    with pytest.raises((IncompleteReadError, ResponseStreamingError)):
        get(client)
    assert get(client) == OLD


@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_flipped_answer(client: S3Client, proxy: FaultProxy, at: float) -> None:
    """Exactly one bit is another, wherever it is, and boto3's checksum finds it."""
    proxy.script(Rule(Fault.FLIPPED_ANSWER, count=2, at=at))
    with pytest.raises(FlexibleChecksumError):
        get(client)
    seen = client.get_object(Bucket=BUCKET, Key=KEY, Range=f"bytes=0-{len(OLD) - 1}")["Body"].read()
    wrong = [place for place, (one, other) in enumerate(zip(seen, OLD, strict=True)) if one != other]
    assert wrong == [int(at * (len(OLD) - 1))]
    assert get(client) == OLD


def test_slow_but_right(client: S3Client, proxy: FaultProxy) -> None:
    """Latency and dripping change nothing but the time."""
    proxy.script(Rule(Fault.LATENCY, seconds=0.01), Rule(Fault.DRIP, first=1, seconds=0.01))
    assert [get(client), get(client)] == [OLD, OLD]
    assert [one.fault for one in proxy.struck] == [Fault.LATENCY, Fault.DRIP]


def test_latency_beyond_the_timeout(proxy: FaultProxy) -> None:
    """A wait that is longer than the client's patience is a timeout there, and does not keep the proxy from its end."""
    impatient = connected(proxy.endpoint, read_timeout=0.05)
    proxy.script(Rule(Fault.LATENCY, seconds=3600))
    with pytest.raises(ReadTimeoutError):
        get(impatient)
    impatient.close()


def test_rules_choose(client: S3Client, proxy: FaultProxy) -> None:
    """A rule counts the requests that it is about; the first that strikes wins; what is no body is not damaged."""
    refused = Rule(Fault.SLOW_DOWN, first=1, count=None, method="GET", path="/folder/")
    proxy.script(refused, Rule(Fault.FLIPPED_REQUEST, count=None))
    client.list_objects_v2(Bucket=BUCKET)
    assert get(client) == OLD
    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown"):
            get(client)
    with pytest.raises(ClientError):
        put(client, NEW)
    assert [one.fault for one in proxy.struck] == [Fault.SLOW_DOWN, Fault.SLOW_DOWN, Fault.FLIPPED_REQUEST]
    assert [one.method for one in proxy.exchanges] == ["GET", "GET", "GET", "GET", "PUT"]


def test_retries_hide_a_refusal(proxy: FaultProxy) -> None:
    """A refused request can be repeated on the same connection: what was sent after it is not taken for another."""
    patient = connected(proxy.endpoint, attempts=3)
    proxy.script(Rule(Fault.SLOW_DOWN), Rule(Fault.INTERNAL_ERROR, first=1))
    put(patient, b"small")
    assert get(patient) == b"small"
    assert [one.fault for one in proxy.exchanges] == [Fault.SLOW_DOWN, Fault.INTERNAL_ERROR, None, None]
    patient.close()
