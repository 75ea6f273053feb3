"""The boto3 client: how it is configured. Credentials come from boto3's own chain, which also refreshes them."""

from __future__ import annotations

import importlib.metadata
from json import JSONDecodeError
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from backends.s3.options import Settings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

CAUGHT = (
    BotoCoreError,
    ClientError,
    ResponseParserError,
    HTTPError,
    OSError,
    # Of programs that give credentials.
    JSONDecodeError,
    UnicodeDecodeError,
)
"""Everything that a request may raise because of the server, the way to it or the configuration."""


def make_client(settings: Settings) -> S3Client:
    """Make a client of its own session: the default session belongs to the program that modhub is embedded in.

    Args:
        settings: Where and how.

    Returns:
        The client; safe to use from many threads.

    Raises:
        BotoCoreError: No such profile, an unreadable configuration file.
    """
    session = boto3.session.Session(profile_name=settings.profile, region_name=settings.region)
    config = Config(
        user_agent=f"modhub/{importlib.metadata.version('modhub')}",
        # Repeating is `RetryPolicy`'s, which knows of bodies, of tokens and of the deadline.
        retries={"total_max_attempts": 1},
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.max_connections,
        tcp_keepalive=True,
        s3={"addressing_style": settings.addressing, "payload_signing_enabled": settings.signs_content},
        # Checksums are given and asked for request by request; what would be added beside them costs a second pass.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = session.client("s3", endpoint_url=settings.endpoint, config=config)
    client.meta.events.register("before-call.s3.HeadBucket", _ask_no_region)
    return client


def _ask_no_region(**_: object) -> None:
    """Have botocore give up a redirect that does not say where to.

    It would ask HEAD for the bucket's region, take a redirect of that for another one, and so on until the stack ends:
    a proxy that sends all of HTTP to HTTPS is enough. A redirect that names the region is followed as ever.
    """
    raise ClientError({"Error": {"Code": "301"}, "ResponseMetadata": {"HTTPHeaders": {}}}, "HeadBucket")  # type: ignore[typeddict-item] # what botocore looks at
