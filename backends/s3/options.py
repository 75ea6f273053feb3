"""What an s3 URI and the options beside it say, checked without boto3 and without a request.

No value and no unknown name is ever repeated in an error: a secret may stand in the wrong place.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from backends.errors import InvalidURI

_IN_URI = ("endpoint", "region", "addressing", "profile")
_SECONDS = ("deadline", "connect_timeout", "read_timeout")
_KNOWN = (*_IN_URI, *_SECONDS, "max_connections", "put")

# What both PutObject and CreateMultipartUpload take and what no other request then has to repeat. Left out on purpose:
# SSECustomer* (each read would need the key), ObjectLock* (what is locked can't be erased), checksums and conditions.
_PUT_TEXT = (
    "ACL",
    "GrantFullControl",
    "GrantRead",
    "GrantReadACP",
    "GrantWriteACP",
    "SSEKMSEncryptionContext",
    "SSEKMSKeyId",
    "ServerSideEncryption",
    "StorageClass",
    "Tagging",
)
_PUT_FLAGS = ("BucketKeyEnabled",)
_PUT_MAPPINGS = ("Metadata",)
_PUT = sorted((*_PUT_TEXT, *_PUT_FLAGS, *_PUT_MAPPINGS))
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
Addressing = Literal["auto", "path", "virtual"]
_PREFIX_BYTES = 500  # of the 1,024 that a key may have; the rest is for the module and the blob


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the store is and how to speak with it.

    Attributes:
        bucket: Its name.
        prefix: Empty, or ends with a slash.
        endpoint: URL of the server; None for AWS.
        region: None leaves it to boto3's configuration.
        addressing: "path" (bucket in the path), "virtual" (in the host's name) or "auto" (as botocore sees fit).
        profile: Name of a profile of boto3's configuration.
        put: Further arguments of PutObject and CreateMultipartUpload.
        deadline: Seconds for one request with its repetitions.
        connect_timeout: Seconds.
        read_timeout: Seconds without a byte.
        max_connections: Connections that are kept open.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    addressing: Addressing = "auto"
    profile: str | None = None
    put: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)  # contexts and metadata may be secret
    deadline: float = 60.0
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    max_connections: int = 16

    @property
    def uri(self) -> str:
        """The URI that opens the same place."""
        given = {name: getattr(self, name) for name in _IN_URI}
        query = urlencode({name: value for name, value in given.items() if value not in {None, "auto"}}, safe=":/")
        return f"s3://{self.bucket}/{quote(self.prefix.rstrip('/'))}" + (f"?{query}" if query else "")

    @property
    def signs_content(self) -> bool:
        """Whether a signature has to cover the content too.

        Over TLS, and to this very machine, nobody is in between; the checksum finds damage, and SHA-256 would cost
        more than all the rest of a request of some MiB.
        """
        url = urlsplit(self.endpoint or "https:")
        if url.scheme == "https" or url.hostname == "localhost":
            return False
        try:
            return not ipaddress.ip_address(url.hostname or "").is_loopback
        except ValueError:
            return True


def parse(parts: SplitResult, options: Mapping[str, object]) -> Settings:
    """Check a URI and options and make settings of them; an option counts more than a parameter.

    Args:
        parts: `s3://bucket[/prefix][?endpoint=...&region=...&addressing=...&profile=...]`.
        options: By the names of `Settings`, without bucket and prefix.

    Returns:
        The settings.

    Raises:
        InvalidURI: Something can't be; says what is allowed.
    """
    parameters = parse_qsl(parts.query, keep_blank_values=True)
    if len(dict(parameters)) != len(parameters) or not dict(parameters).keys() <= set(_IN_URI):
        raise InvalidURI(
            "the s3 URI has an unknown or repeated parameter",
            hint=f"Allowed in the URI: {', '.join(_IN_URI)}; all others are options of open_store.",
        )
    given: dict[str, Any] = {**dict(parameters), **options}
    if not given.keys() <= set(_KNOWN):
        raise InvalidURI("the s3 backend has an unknown option", hint=f"Allowed: {', '.join(_KNOWN)}.")
    if not _BUCKET.fullmatch(parts.netloc):
        raise InvalidURI(
            "the s3 URI names no usable bucket",
            hint="Use s3://bucket/prefix; a host and port go into the parameter endpoint.",
        )
    checked: dict[str, Any] = {name: _CHECKS[name](name, value) for name, value in given.items()}
    return Settings(bucket=parts.netloc, prefix=_prefix(parts.path), **checked)


def _prefix(path: str) -> str:
    try:
        path = unquote(path, errors="strict")
    except UnicodeDecodeError:
        path = "\0"  # refused below, as what can't be printed
    path = path.removeprefix("/").removesuffix("/")
    segments = path.split("/") if path else []
    if (
        any(segment in {"", ".", ".."} for segment in segments)
        or not path.isprintable()
        or len(path.encode()) > _PREFIX_BYTES
    ):
        raise InvalidURI(
            "the s3 URI has an unusable prefix",
            hint=f"A prefix is printable UTF-8 of at most {_PREFIX_BYTES} bytes, without //, . or .. in it.",
        )
    return path + "/" if path else ""


def _endpoint(name: str, value: object) -> str:
    try:
        url = urlsplit(value if isinstance(value, str) else "")
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0 and "@" not in url.netloc
    except ValueError:
        usable = False
    else:
        usable = usable and not url.query and not url.fragment and str(value).isprintable() and " " not in str(value)
    if not usable:
        raise InvalidURI(
            f"the s3 option {name} is not a URL of a server",
            hint="Use http://host:port or https://host, without credentials; those are found by boto3.",
        )
    return str(value).rstrip("/")


def _region(name: str, value: object) -> str:
    if not isinstance(value, str) or not _REGION.fullmatch(value):
        raise InvalidURI(f"the s3 option {name} is not a region", hint="Regions look like eu-west-1.")
    return value


def _addressing(name: str, value: object) -> str:
    if value not in {"auto", "path", "virtual"}:
        raise InvalidURI(f"the s3 option {name} is unknown", hint="Allowed: auto, path, virtual.")
    return str(value)


def _profile(name: str, value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InvalidURI(f"the s3 option {name} is no name", hint="Name a profile of the AWS configuration file.")
    return value


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidURI(f"the s3 option {name} is not a number of seconds", hint="Use a number above 0.")
    return float(value)


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise InvalidURI(f"the s3 option {name} is not a number of connections", hint="Use 1 to 1000.")
    return value


def _put(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidURI(f"the s3 option {name} is not a table", hint=f"Allowed in it: {', '.join(_PUT)}.")
    given = dict(cast("Mapping[str, Any]", value))
    if not given.keys() <= set(_PUT):
        raise InvalidURI(
            f"the s3 option {name} has an unknown argument",
            hint=f"Allowed: {', '.join(_PUT)}. Encryption by keys of the customer and object locks are not supported.",
        )
    for argument, content in given.items():
        if argument in _PUT_FLAGS:
            usable = isinstance(content, bool)
        elif argument in _PUT_MAPPINGS:
            usable = isinstance(content, Mapping) and all(
                isinstance(text, str) for pair in cast("dict[Any, Any]", content).items() for text in pair
            )
        else:
            usable = isinstance(content, str) and bool(content)
        if not usable:
            kind = "true or false" if argument in _PUT_FLAGS else "a table" if argument in _PUT_MAPPINGS else "a text"
            raise InvalidURI(f"the s3 option {name} has an unusable {argument}", hint=f"{argument} is {kind}.")
    if given.get("StorageClass") in _ARCHIVES:
        raise InvalidURI(
            f"the s3 option {name} asks for a storage class that can't be read at once",
            hint="Use one with immediate access, such as STANDARD, STANDARD_IA or GLACIER_IR.",
        )
    return given


_CHECKS = {
    "endpoint": _endpoint,
    "region": _region,
    "addressing": _addressing,
    "profile": _profile,
    **dict.fromkeys(_SECONDS, _seconds),
    "max_connections": _count,
    "put": _put,
}
