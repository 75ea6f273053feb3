"""The dashboard: static files, served as they are. Nothing of them is built, and nothing comes from elsewhere.

The page's own links are relative, so that it works under whatever path the application is mounted at, also behind a
reverse proxy that tells nobody of its prefix. `/` and `/modules/{id}` lie at different depths: hence `page`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Final

CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def assets() -> dict[str, tuple[bytes, str]]:
    """Return the files below `/dashboard/` by name: content and content type."""
    return {
        entry.name: (entry.read_bytes(), CONTENT_TYPES[suffix])
        for entry in files(__package__).iterdir()
        if (suffix := PurePath(entry.name).suffix) in CONTENT_TYPES
    }


@cache
def page(depth: int = 0) -> bytes:
    """Return the page.

    Args:
        depth: slashes in the path it is served at, after the root's: 0 for `/`, 1 for `/modules/{id}`.
    """
    content = files(__package__).joinpath("index.html").read_bytes()
    return content.replace(b'"./dashboard/', b'"' + b"../" * depth + b"dashboard/") if depth else content
