"""Where the demo's modules have their home: in its own folder, or in a part of its own of a backend of yours."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from backends import BackendsError, BlobStore, RemoteModule, open_store
from hub.backend_options import check_opens
from hub.errors import BackendError


class Place:
    """A part of a backend that is the demo's alone, and empty again at the end.

    Args:
        uri: of that part.

    Attributes:
        uri: as given.
        store: opened.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.store: BlobStore = open_store(uri)
        self._folders = _missing_folders(uri)

    @classmethod
    def below(cls, uri: str) -> Place:
        """Choose a part of a backend that nobody else has, after a look whether that can be used.

        Raises:
            InvalidConfig: the URI names none.
            BackendError: it can't be used; nothing was written.
        """
        check_opens(uri, {})
        try:
            open_store(uri).check()
        except BackendsError as error:
            raise BackendError(f"backend: {error}", hint=error.hint) from error
        return cls(part_of(uri, f"modhub-demo-{secrets.token_hex(8)}"))

    def empty(self, module_ids: tuple[str, ...]) -> None:
        """Delete what is left of modules, and prove by a listing that nothing is.

        Raises:
            BackendError: something is left, or may be; the error says where.
        """
        try:
            for module_id in module_ids:
                RemoteModule(self.store, module_id, owner="modhub-demo").erase()
            left = next(iter(self.store.remains("")), None)
        except BackendsError as error:
            raise BackendError(f"objects may be left in {self.store.uri}: {error}", hint=error.hint) from error
        if left is not None:
            raise BackendError(f"{left.name} is left in {self.store.uri}")
        # A folder is no object. Those that were there before, or that somebody else uses meanwhile, stay.
        for folder in self._folders:
            with suppress(OSError):
                folder.rmdir()


def part_of(uri: str, name: str) -> str:
    """Return the URI of a part of a backend.

    Args:
        uri: the backend's.
        name: of the part; unreserved characters only.
    """
    parts = urlsplit(uri)
    query = parts.query
    if parts.scheme == "file":
        # That the folder must exist was meant, and checked, of the one that was given.
        query = urlencode([(key, value) for key, value in parse_qsl(query) if key != "create"])
    return parts._replace(path=f"{parts.path.rstrip('/')}/{name}", query=query).geturl()


def _missing_folders(uri: str) -> list[Path]:
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return []
    path = Path(unquote(parts.path, errors="surrogateescape"))
    return [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
