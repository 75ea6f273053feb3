"""The store on S3 and on servers that speak its protocol."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from urllib.parse import SplitResult

from backends.blobstore import BlobStore
from backends.errors import BackendMisconfigured
from backends.s3.options import parse


def open_s3(parts: SplitResult, options: Mapping[str, object]) -> BlobStore:
    """Open the store that a URI names. Makes no request and does not import boto3: that takes a third of a second.

    Args:
        parts: The URI, already checked to be free of credentials.
        options: See `backends.s3.options.Settings`.

    Returns:
        The store; its client is made with the first request.

    Raises:
        InvalidURI: A part, parameter or option that can't be.
        BackendMisconfigured: The extra `s3` is not installed.
    """
    settings = parse(parts, options)
    for package in ("boto3", "tenacity"):
        if importlib.util.find_spec(package) is None:
            raise BackendMisconfigured(
                f"the s3 backend needs {package}, which is not installed", hint="Run: pip install 'modhub[s3]'"
            )
    from backends.s3.store import S3Store  # noqa: PLC0415 - only now is it known that its packages are there

    return S3Store(settings)
