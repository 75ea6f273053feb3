"""Watching over modules, the backend, leases, the disk and the loop: crashes, unfinished intents, idleness, outages, usage."""

from hub.watchdog.backend import BackendWatch, Unavailable
from hub.watchdog.checkpoints import CheckpointEnded, CheckpointSchedule
from hub.watchdog.disk import DiskWatch
from hub.watchdog.idle import IdleSweep
from hub.watchdog.leases import Finish, LeaseWatch, Resume
from hub.watchdog.liveness import Liveness
from hub.watchdog.relisting import Relisting
from hub.watchdog.stall import StallWatch
from hub.watchdog.usage import UsageSampler
from hub.watchdog.watchdog import Observed, Watchdog

__all__ = [
    "BackendWatch",
    "CheckpointEnded",
    "CheckpointSchedule",
    "DiskWatch",
    "Finish",
    "IdleSweep",
    "LeaseWatch",
    "Liveness",
    "Observed",
    "Relisting",
    "Resume",
    "StallWatch",
    "Unavailable",
    "UsageSampler",
    "Watchdog",
]
