"""The hub over HTTP: an ASGI application, which `modhub serve` runs and a host may mount into its own.

    from hub.http import HttpConfig, create_app

    app = create_app(hub, HttpConfig(tokens=(...)))

Needs the extra `http`, except for the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.http.config import HttpConfig, Role, Token

if TYPE_CHECKING:
    from hub.http.app import create_app, drain

__all__ = ["HttpConfig", "Role", "Token", "create_app", "drain"]


def __getattr__(name: str) -> object:
    # Late: the framework takes longer to import than all of the hub, and is there only with the extra.
    if name in {"create_app", "drain"}:
        from hub.http import app  # noqa: PLC0415 - see above

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
