"""What kind of thing a request leads to; all paths are below the one that the application is mounted at."""

from __future__ import annotations

from starlette.types import Scope

PROXY = "/hub/proxy"
VIRTUAL_HOST = "modhub.virtual_host"
"""Key of the scope: what the request's host names below `proxy_domain`; `None` = it is the hub's own."""


def route_path(scope: Scope) -> str:
    """Return the path of a request below the application's root path."""
    path: str = scope.get("path", "")
    root: str = scope.get("root_path", "").rstrip("/")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :]
    return path


def is_proxied(scope: Scope) -> bool:
    """Tell whether a request is for an instance: by its host, under which there is nothing else, or by its path."""
    return scope.get(VIRTUAL_HOST) is not None or route_path(scope).startswith(PROXY + "/")


def is_page(path: str) -> bool:
    """Tell whether a path leads to a page for people, or to what such a page consists of."""
    return path in {"", "/", "/docs"} or path.startswith(("/modules/", "/dashboard/"))
