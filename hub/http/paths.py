"""What kind of thing a path leads to; all below the path that the application is mounted at."""

from __future__ import annotations

from starlette.types import Scope

PROXY = "/hub/proxy"


def route_path(scope: Scope) -> str:
    """Return the path of a request below the application's root path."""
    path: str = scope.get("path", "")
    root: str = scope.get("root_path", "").rstrip("/")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :]
    return path


def is_proxied(path: str) -> bool:
    """Tell whether a path leads to an instance."""
    return path.startswith(PROXY + "/")


def is_page(path: str) -> bool:
    """Tell whether a path leads to a page for people, or to what such a page consists of."""
    return path in {"", "/", "/docs"} or path.startswith(("/modules/", "/dashboard/"))
