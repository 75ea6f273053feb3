"""A backend with random faults under every operation: what fails fails typed, and no data is lost or comes back."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import backends
from backends import BackendUnavailable, BlobStore
from hub import BackendError, Hub, InvalidState, ModhubError, ModuleNotFound
from tests.fault_proxy import FaultProxy
from tests.fault_rules import Fault, Rule
from tests.faults.rig import settle
from tests.hub.conftest import MakeHub
from tests.hub.faulty import METHODS
from tests.hub.marked import processes_of
from tests.hub.tiny_client import get, put
from tests.s3_servers import Server

pytestmark = pytest.mark.e2e

MODULES = ("a", "b")
STEPS = 40
QUICK: dict[str, Any] = {
    "retry_delay": 0.01,
    "retry_delay_max": 0.05,
    "breaker_delay": 0.02,
    "breaker_delay_max": 0.05,
    "breaker_failures": 5,
}


class Unreliable:
    """A store that fails by chance: before it has done what was asked, after it, or late.

    Args:
        store: the real one.
        chance: of all that happens.
    """

    def __init__(self, store: BlobStore, chance: random.Random) -> None:
        self._store = store
        self._chance = chance
        self.rate = 0.0
        self.struck = 0

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if name not in METHODS:
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            fault = self._chance.choice(("before", "after", "late")) if self._chance.random() < self.rate else ""
            self.struck += bool(fault)
            if fault == "before":
                raise BackendUnavailable("refused")
            if fault == "late":
                time.sleep(0.02)
            result = attribute(*args, **kwargs)
            if fault == "after":
                raise BackendUnavailable("done, and not acknowledged")
            return result

        return call


class Promise:
    """What may be found of one module."""

    def __init__(self) -> None:
        self.possible: set[str | None] = {None}


def work(hub: Hub, chance: random.Random, promises: dict[str, Promise], number: int) -> str:
    """One random step; returns what came of it."""
    module_id = chance.choice(MODULES)
    promise = promises[module_id]
    action = chance.choice(
        ("write", "write", "verify", "hibernate", "wake", "deprovision", "deprovision", "obliterate")
    )
    try:
        match action:
            case "write":
                info = hub.provision(module_id)
                put(info, "k", str(number))
                promise.possible = {str(number)}
            case "verify":
                value = get(hub.provision(module_id), "k")
                assert value in promise.possible, f"step {number}: {module_id} holds {value}, not {promise.possible}"
            case "obliterate":
                promise.possible = {None}
                hub.obliterate(module_id)
            case operation:
                getattr(hub, operation)(module_id)
    except InvalidState:
        # Wake or hibernate of a crashed module; or its obliteration is its only future.
        return f"{action} refused"
    except (BackendError, ModuleNotFound) as error:
        return f"{action}: {type(error).__name__}"
    return f"{action} done"


def at_rest(hub: Hub, promises: dict[str, Promise], data: Path) -> None:
    """With the backend well again, all is finished, and holds what it must."""
    deadline = time.monotonic() + 20
    while not hub.backend_status().available:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    settle(hub)
    for module_id, promise in promises.items():
        value = get(hub.provision(module_id), "k")
        assert value in promise.possible, f"{module_id} holds {value}, not {promise.possible}"
        hub.deprovision(module_id)
        assert hub.obliterate(module_id).remaining == 0
    assert processes_of(data) == []
    assert list((data / "modules").iterdir()) == []
    assert list((data / "trash").iterdir()) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_folder_that_fails_by_chance_costs_no_data(
    make_hub: MakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Calls that are refused, late, or done and not acknowledged, in any order: the hub keeps its promises."""
    chance = random.Random(seed)
    opened: Callable[..., BlobStore] = backends.open_store
    stores: list[Unreliable] = []

    def open_unreliable(uri: str, **options: Any) -> Any:
        stores.append(Unreliable(opened(uri, **options), chance))
        return stores[-1]

    monkeypatch.setattr("hub.transfers.open_store", open_unreliable)
    hub = make_hub(**QUICK)
    promises = {module_id: Promise() for module_id in MODULES}
    stores[-1].rate = 0.15
    outcomes = [work(hub, chance, promises, number) for number in range(STEPS)]
    stores[-1].rate = 0.0
    at_rest(hub, promises, tmp_path / "data")
    assert stores[-1].struck > 3, outcomes
    assert list((tmp_path / "backend").iterdir()) == []


# Not a flipped bit on the way in: a disk's or network's that no checksum sees is not the hub's to find.
HTTP_FAULTS = (
    Fault.LATENCY,
    Fault.RESET_BEFORE,
    Fault.RESET_MID_REQUEST,
    Fault.LOST_ACKNOWLEDGEMENT,
    Fault.SLOW_DOWN,
    Fault.INTERNAL_ERROR,
    Fault.TRUNCATED,
    Fault.FLIPPED_ANSWER,
    Fault.FLIPPED_REQUEST,
    Fault.DRIP,
)


@pytest.fixture
def proxy(seaweedfs_server: Server, s3_credentials: None) -> Iterator[FaultProxy]:
    with FaultProxy(seaweedfs_server.endpoint) as proxy:
        yield proxy


@pytest.mark.parametrize("seed", range(4))
def test_a_network_that_fails_by_chance_costs_no_data(
    make_hub: MakeHub, tmp_path: Path, proxy: FaultProxy, new_prefix: Callable[[], str], seed: int
) -> None:
    """S3 through resets, lost acknowledgements, throttling, cut and damaged bodies: the hub keeps its promises."""
    chance = random.Random(seed)
    uri = f"s3://demo/{new_prefix()}?endpoint={proxy.endpoint}&region=us-east-1&addressing=path"
    options = {"deadline": 1.0, "connect_timeout": 1.0, "read_timeout": 1.0}
    hub = make_hub(backend_uri=uri, backend_options=options, **QUICK)
    promises = {module_id: Promise() for module_id in MODULES}
    outcomes: list[str] = []
    struck = 0
    for number in range(STEPS // 2):
        rules = [
            Rule(
                chance.choice(HTTP_FAULTS), first=chance.randrange(10), count=chance.choice((1, 1, 3, 30)), seconds=0.1
            )
            for _ in range(2)
        ]
        proxy.script(*rules)
        outcomes.append(work(hub, chance, promises, number))
        struck += len(proxy.struck)
    proxy.script()
    at_rest(hub, promises, tmp_path / "data")
    assert struck > 3, outcomes


def test_a_hub_that_is_closed_in_an_outage_takes_up_all_at_the_next_start(make_hub: MakeHub, tmp_path: Path) -> None:
    """What could not be finished is known after a restart, and finished when the backend is well."""
    backend = tmp_path / "backend"
    hub = make_hub(**QUICK)
    for module_id in MODULES:
        put(hub.provision(module_id), "k", module_id)
    backend.rename(tmp_path / "away")
    backend.write_text("in the way")
    with contextlib.suppress(ModhubError):
        hub.deprovision("a")
    with contextlib.suppress(ModhubError):
        hub.obliterate("b")
    hub.close()
    backend.unlink()
    (tmp_path / "away").rename(backend)
    promises = {"a": Promise(), "b": Promise()}
    promises["a"].possible = {"a"}
    at_rest(make_hub(**QUICK), promises, tmp_path / "data")
