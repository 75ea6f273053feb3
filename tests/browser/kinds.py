"""Kinds that start fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hub import Kind
from tests.hub.conftest import tiny_kind as tiny


def talker(name: str = "talker", *flags: str, **options: Any) -> Kind:
    """An HTTP server that writes to its output what it is sent."""
    command = [sys.executable, "-I", str(Path(__file__).with_name("talking_server.py")), "{port}", *flags]
    return Kind(name, command, stop_timeout=5.0, start_timeout=20.0, **options)


__all__ = ["talker", "tiny"]
