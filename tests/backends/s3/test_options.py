"""What an s3 URI and its options may say; no request is made here and no boto3 imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from backends import BackendMisconfigured, InvalidURI, open_store
from backends.s3.options import Settings, parse
from backends.uri import split_uri


def settings(uri: str, **options: object) -> Settings:
    return parse(split_uri(uri), options)


def test_everything_can_be_said() -> None:
    """Bucket, prefix and the four parameters are read from the URI, the rest from options."""
    found = settings(
        "s3://my.bucket/a/b%20c?endpoint=https://s3.example:9000/&region=eu-west-1&addressing=virtual&profile=ops",
        put={"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": True, "Metadata": {"by": "modhub"}},
        deadline=5,
        connect_timeout=1.5,
        read_timeout=2,
        max_connections=3,
    )
    assert found == Settings(
        bucket="my.bucket",
        prefix="a/b c/",
        endpoint="https://s3.example:9000",
        region="eu-west-1",
        addressing="virtual",
        profile="ops",
        put={"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": True, "Metadata": {"by": "modhub"}},
        deadline=5.0,
        connect_timeout=1.5,
        read_timeout=2.0,
        max_connections=3,
    )


@pytest.mark.parametrize(
    ("uri", "prefix"), [("s3://b2b", ""), ("s3://b2b/", ""), ("s3://b2b/p", "p/"), ("s3://b2b/p/q/", "p/q/")]
)
def test_prefixes_are_normalised(uri: str, prefix: str) -> None:
    """With or without slashes at its ends a prefix is the same, and an empty one is the whole bucket."""
    assert settings(uri).prefix == prefix


def test_shown_uri_opens_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URI that a store shows names the place that it was opened with."""
    first = settings("s3://b2b/a%20b%25/c?addressing=path&endpoint=http://[::1]:9/x&profile=a b&region=r-1")
    assert settings(first.uri) == first
    assert open_store(first.uri).uri == first.uri
    assert settings("s3://b2b").uri == "s3://b2b/"


def test_options_count_more_than_parameters() -> None:
    """What is given twice is taken from the options."""
    assert settings("s3://b2b?region=a-1", region="b-2").region == "b-2"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://",
        "s3:///prefix",
        "s3://b",
        "s3://bucket:9000/x",
        "s3://buc ket/x",
        "s3://-bucket/x",
        "s3://bucket/a//b",
        "s3://bucket//a",
        "s3://bucket/../a",
        "s3://bucket/a/./b",
        "s3://bucket/a/%2e%2e",
        "s3://bucket/%00",
        "s3://bucket/%0a",
        "s3://bucket/%ff",
        "s3://bucket/" + "x" * 501,
        "s3://bucket?endpoint=host:9000",
        "s3://bucket?endpoint=ftp://host",
        "s3://bucket?endpoint=http://key:hunter2%40host",
        "s3://bucket?endpoint=http://host:70000",
        "s3://bucket?endpoint=http://host%3fx",
        "s3://bucket?endpoint=",
        "s3://bucket?region=",
        "s3://bucket?region=a/b",
        "s3://bucket?region=a&region=b",
        "s3://bucket?addressing=maybe",
        "s3://bucket?profile=",
        "s3://bucket?deadline=3",
        "s3://bucket?secret_key=hunter2",
    ],
)
def test_unusable_uris(uri: str) -> None:
    """What no bucket can be named by is refused with a hint, and not repeated."""
    with pytest.raises(InvalidURI) as caught:
        open_store(uri)
    assert caught.value.hint != InvalidURI.default_hint or uri == "s3:///prefix"
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"aws_secret_access_key": "hunter2"}, "Allowed: endpoint, region"),
        ({"deadline": 0}, "above 0"),
        ({"deadline": "3"}, "above 0"),
        ({"deadline": True}, "above 0"),
        ({"read_timeout": float("inf")}, "above 0"),
        ({"connect_timeout": float("nan")}, "above 0"),
        ({"max_connections": 0}, "1 to 1000"),
        ({"max_connections": 1.5}, "1 to 1000"),
        ({"endpoint": 3}, "http://host:port"),
        ({"put": "AES256"}, "ServerSideEncryption"),
        ({"put": {"ServerSideEncription": "hunter2"}}, "ServerSideEncryption"),
        ({"put": {"SSECustomerKey": "hunter2"}}, "keys of the customer"),
        ({"put": {"ObjectLockMode": "COMPLIANCE"}}, "object locks"),
        ({"put": {"IfMatch": "x"}}, "Allowed"),
        ({"put": {"StorageClass": ""}}, "a text"),
        ({"put": {"StorageClass": "GLACIER"}}, "immediate access"),
        ({"put": {"BucketKeyEnabled": "yes"}}, "true or false"),
        ({"put": {"Metadata": {"a": 1}}}, "a table"),
        ({"put": {"Metadata": "hunter2"}}, "a table"),
    ],
)
def test_unusable_options(options: dict[str, Any], said: str) -> None:
    """An option that can't be is found when the store is opened, and the hint says what can."""
    with pytest.raises(InvalidURI) as caught:
        open_store("s3://bucket/prefix", **options)
    assert said in caught.value.hint
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("endpoint", "signed"),
    [
        (None, False),
        ("https://s3.example", False),
        ("http://127.0.0.1:9000", False),
        ("http://[::1]:9000", False),
        ("http://localhost:9000", False),
        ("http://10.0.0.1", True),
        ("http://s3.example", True),
        ("http://localhost.example", True),
    ],
)
def test_content_is_signed_where_somebody_may_be_in_between(endpoint: str | None, signed: bool) -> None:
    """Over a network without TLS the signature covers the content."""
    assert Settings("b2b", endpoint=endpoint).signs_content is signed


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout


def test_opening_imports_no_boto3() -> None:
    """A configuration is checked without what costs a third of a second."""
    shown = run(
        "import sys; from backends import open_store; store = open_store('s3://bucket/x')\n"
        "print(store.uri, *(name for name in ('boto3', 'botocore.session') if name in sys.modules))"
    )
    assert shown.split() == ["s3://bucket/x"]


@pytest.mark.parametrize("package", ["boto3", "tenacity"])
def test_without_its_packages(package: str) -> None:
    """Everything imports without the extra; opening an s3 URI says what to install, and a bad one is still refused."""
    shown = run(
        f"import sys; sys.modules.update(boto3=None, botocore=None); sys.modules[{package!r}] = None\n"
        "import actors, backends, hub\n"
        "for uri in ('s3://bucket/x', 's3://bucket//x'):\n"
        "    try: backends.open_store(uri)\n"
        "    except backends.BackendsError as error: print(type(error).__name__, error, error.hint)\n"
    )
    missing, invalid = shown.splitlines()
    assert missing.startswith(BackendMisconfigured.__name__)
    assert missing.endswith("pip install 'modhub[s3]'")
    assert invalid.startswith(InvalidURI.__name__)


def test_put_arguments_are_not_shown() -> None:
    """What is put with objects may be secret, and stands in no repr that a report of an error might have."""
    settings = parse(split_uri("s3://bucket/p"), {"put": {"SSEKMSEncryptionContext": "SECRET"}})
    assert "SECRET" not in repr(settings)
