"""Watching over modules, the backend and the event loop: crashes, unfinished intents, idleness, liveness, outages."""

from hub.watchdog.backend import BackendWatch, Unavailable
from hub.watchdog.checkpoints import CheckpointEnded, CheckpointSchedule
from hub.watchdog.idle import IdleSweep
from hub.watchdog.liveness import Liveness
from hub.watchdog.stall import StallWatch
from hub.watchdog.watchdog import Observed, Watchdog

__all__ = [
    "BackendWatch",
    "CheckpointEnded",
    "CheckpointSchedule",
    "IdleSweep",
    "Liveness",
    "Observed",
    "StallWatch",
    "Unavailable",
    "Watchdog",
]
