"""The dashboard's files: read once, served from memory, so no path can lead anywhere else."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.http.problem import Refused

_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
_TEXTS = ("text/", "image/svg")


@dataclass(frozen=True, slots=True)
class Asset:
    """A file.

    Attributes:
        body: its bytes.
        media_type: its media type.
        etag: identifies its content.
    """

    body: bytes
    media_type: str
    etag: str


def load_assets(folder: Traversable) -> Mapping[str, Asset]:
    """Return the files of a folder by name, but for Python's own."""
    return {
        entry.name: asset_of(entry.name, entry.read_bytes())
        for entry in folder.iterdir()
        if entry.is_file() and not entry.name.endswith(".py")
    }


def asset_of(name: str, body: bytes) -> Asset:
    """Return a file of that name and content."""
    suffix = name[name.rfind(".") :]
    media_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    if media_type.startswith(_TEXTS):
        media_type += "; charset=utf-8"
    return Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def asset_response(request: Request, asset: Asset) -> Response:
    """Return a file, or that the client has it already."""
    fields = {"etag": asset.etag, "cache-control": "no-cache"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if asset.etag in known or "*" in known:
        return Response(status_code=304, headers=fields)
    return Response(asset.body, headers={**fields, "content-type": asset.media_type})


def dashboard_routes(proxy_domain: str) -> list[Route]:
    """Return the routes of the dashboard's pages and files.

    Args:
        proxy_domain: written into the page, which has links to modules' virtual hosts; empty = there are none.
    """
    assets = load_assets(resources.files("hub") / "dashboard")
    told = f'name="proxy-domain" content="{escape(proxy_domain)}"'.encode()
    index = asset_of("index.html", assets["index.html"].body.replace(b'name="proxy-domain" content=""', told))
    # The same page one level below: what it refers to is relative, since it may be mounted anywhere.
    below = asset_of("index.html", index.body.replace(b'"./', b'"../'))

    async def page(request: Request) -> Response:
        return asset_response(request, index)

    async def module_page(request: Request) -> Response:
        return asset_response(request, below)

    async def file(request: Request) -> Response:
        asset = assets.get(request.path_params["file"])
        if asset is None:
            raise Refused("not-found", "the dashboard has no such file")
        return asset_response(request, asset)

    return [
        Route("/", page, name="dashboard"),
        Route("/modules/{module_id}", module_page, name="dashboard-module"),
        Route("/dashboard/{file}", file, name="dashboard-file"),
    ]
