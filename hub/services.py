"""What the hub's actors share: made once by the hub, handed to each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio

from actors import Ref
from hub.config import HubConfig
from hub.counters import Counters
from hub.directory import Directory
from hub.disk import Disk
from hub.events import EventBus
from hub.gateway.ports import GatewayPorts
from hub.history import EventHistory
from hub.instance import InstanceRunner
from hub.journal import Journal
from hub.layout import Layout
from hub.lease_keeper import LeaseKeeper
from hub.logs import Logs
from hub.operation import Ledger
from hub.places import Places
from hub.transfers import Transfers
from hub.workers import Workers


@dataclass(slots=True, kw_only=True)
class Services:
    """The hub's parts, as its actors use them.

    Attributes:
        starts: slots for processes that are starting, fleet-wide; a module holds one only while it starts.
        checkpoints: slots for checkpoints, fleet-wide; each may hold a second copy of a module's data on the disk.
        epochs: numbers of starts; no two starts of this hub have the same.
        cells: every module's cell by module id; here, so that it outlives a defect in the registry's own code.
        cell_numbers: numbers of cells; no two cells of this hub have the same name.
        closing: set once; from then on operations are refused.
        started: monotonic time of the start.
        started_at: the same in seconds since the epoch.
        wall_clock: seconds since the epoch, for what people read.
    """

    config: HubConfig
    layout: Layout
    journal: Journal
    logs: Logs
    directory: Directory
    ledger: Ledger
    bus: EventBus
    counters: Counters
    history: EventHistory
    workers: Workers
    transfers: Transfers
    leases: LeaseKeeper
    runner: InstanceRunner
    starts: anyio.CapacityLimiter
    checkpoints: anyio.CapacityLimiter
    disk: Disk
    places: Places
    gateway_ports: GatewayPorts
    clock: Callable[[], float]
    wall_clock: Callable[[], float] = time.time
    epochs: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    cells: dict[str, Ref[Any]] = field(default_factory=dict[str, "Ref[Any]"])
    cell_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    closing: bool = False
    started: float = field(init=False)
    started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.started, self.started_at = self.clock(), self.wall_clock()
