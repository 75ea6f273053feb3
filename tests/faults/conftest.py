from __future__ import annotations

from tests.hub.conftest import events, make_hub

__all__ = ["events", "make_hub"]
