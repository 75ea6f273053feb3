"""Slots of which an operation needs one for a while."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio


@asynccontextmanager
async def slot(of: anyio.CapacityLimiter) -> AsyncGenerator[None]:
    """Hold a slot until the block ends; where one is free and nobody waits it is had at once.

    The limiter's own context manager always gives others their turn first: all who hear of a transition would be heard
    before the process is started, and not while it starts.

    Args:
        of: the slots.
    """
    try:
        of.acquire_nowait()
    except anyio.WouldBlock:
        await of.acquire()
    try:
        yield
    finally:
        of.release()
