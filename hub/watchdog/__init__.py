"""Watching over modules: crashes and unfinished intents, idleness, liveness, and the event loop itself."""

from hub.watchdog.idle import IdleSweep
from hub.watchdog.liveness import Liveness
from hub.watchdog.stall import StallWatch
from hub.watchdog.watchdog import Observed, Watchdog

__all__ = ["IdleSweep", "Liveness", "Observed", "StallWatch", "Watchdog"]
