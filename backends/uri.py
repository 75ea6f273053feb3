"""From a URI to a store: the registry of schemes. Opening writes nothing and reads at most what a store must know."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import cast
from urllib.parse import SplitResult, parse_qsl, unquote_to_bytes, urlsplit

from backends.blobstore import BlobStore
from backends.errors import BackendsError, InvalidURI

ENTRY_POINTS = "modhub.backends"

StoreFactory = Callable[..., BlobStore]
"""Called with the URI (free of credentials) and the keyword options of `open_store`."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def open_store(uri: str, **options: object) -> BlobStore:
    """Open the store that a URI names. Writes nothing.

    Args:
        uri: `file:///absolute/path`, `s3://bucket/prefix`, or a URI of a scheme that an installed plugin adds.
        options: Passed to the scheme's factory. `file` knows `create` (False: the folder must exist), also as a
            parameter of the URI; what `s3` knows is in `backends.s3.options`.

    Returns:
        The store.

    Raises:
        InvalidURI: Not a URI, an unknown scheme or parameter, or credentials in it.
        BackendMisconfigured: The packages that the scheme needs are not installed.
        BackendsError: The plugin of the scheme could not be loaded.
    """
    parts = split_uri(uri)
    if parts.scheme == "file":
        return _open_file(parts, options)
    if parts.scheme == "s3":
        from backends.s3 import open_s3  # noqa: PLC0415 - a backend that is not asked for is not imported

        return open_s3(parts, options)
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    if parts.scheme not in found.names:
        known = ", ".join(sorted({"file", "s3", *found.names}))
        raise InvalidURI(f"no backend for the scheme {parts.scheme!r}", hint=f"Known schemes: {known}.")
    try:
        factory = cast("StoreFactory", found[parts.scheme].load())
    except Exception as error:
        raise BackendsError(
            f"the plugin for the scheme {parts.scheme!r} could not be loaded",
            hint="Install what the plugin needs, or remove it.",
        ) from error
    return factory(uri, **options)


def split_uri(uri: str) -> SplitResult:
    """Take a URI apart and refuse what no backend may have in one.

    Args:
        uri: The whole URI.

    Returns:
        Its parts.

    Raises:
        InvalidURI: Not a URI, or with credentials or a fragment in it. Nothing of it is repeated.
    """
    try:
        parts = urlsplit(uri)
        credentials = "@" in parts.netloc
    except ValueError:
        # The cause is dropped: its message repeats parts of the URI.
        raise InvalidURI("the backend's URI is malformed") from None
    if not _SCHEME.fullmatch(parts.scheme) or "://" not in uri:
        raise InvalidURI("the backend is not given as a URI with a scheme")
    if credentials:
        raise InvalidURI(
            "a backend's URI must not hold credentials",
            hint="Put credentials where the backend's client looks for them (environment, profile), not in the URI.",
        )
    if parts.fragment or any(character in uri for character in "\0\n\r\t"):
        raise InvalidURI("the backend's URI has a fragment or control characters; percent-encode them")
    return parts


def _open_file(parts: SplitResult, options: dict[str, object]) -> BlobStore:
    # Imported here so that a plugin's store does not pay for this one.
    from backends.file import FileStore  # noqa: PLC0415 - a backend that is not asked for is not imported

    given = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **options}
    create = given.pop("create", "true")
    # Not even the names of unknown parameters are repeated: a secret may stand in the wrong place.
    if given or create not in {"true", "false", True, False}:
        raise InvalidURI("a file URI has an unknown parameter or value", hint="Allowed: create=true and create=false.")
    if parts.netloc not in {"", "localhost"}:
        raise InvalidURI(
            "a file URI may name no other host",
            hint="Allowed: file:///absolute/path and file://localhost/absolute/path.",
        )
    path = unquote_to_bytes(parts.path)
    if b"\0" in path or not path.strip(b"/") or not path.startswith(b"/"):
        raise InvalidURI(
            "a file URI must name an absolute folder other than the root", hint="Use file:///absolute/path."
        )
    return FileStore(Path(os.fsdecode(path)), create=create in {"true", True})
