"""Transfers over a network that fails: every request, every fault. Equal or a typed error, never silent loss.

By default each request meets one of the faults in each test; with `--hypothesis-profile=thorough` it meets all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends import BackendsError, BackendUnavailable, BlobStore, CorruptData, open_store
from tests.backends.rig import Rig
from tests.backends.trees import edit_source, make_source, snapshot, workspace
from tests.fault_proxy import FaultProxy
from tests.fault_rules import Fault, Rule
from tests.s3_servers import Server

FAULTS = list(Fault)
THOROUGH = settings.get_current_profile_name() == "thorough"
# A request meets the fault of its number, shifted: all shifts together are every fault at every request.
SHIFTS = range(len(FAULTS)) if THOROUGH else (0,)
# No time for a second attempt: then what one fault does to an operation is seen.
NO_RETRY = 0.001
# More requests than so many, or an operation was not what was tested.
OPERATIONS = {"dehydration": 10, "hydration": 2, "erasure": 5}


@dataclass(frozen=True)
class Network:
    """One prefix on a server, seen directly, and through a proxy with more or less time for further attempts."""

    proxy: FaultProxy
    direct: BlobStore
    impatient: BlobStore
    hasty: BlobStore
    patient: BlobStore

    @property
    def met(self) -> bool:
        """Whether any fault has met its request, though there may have been nothing to damage."""
        return any(exchange.fault is not None for exchange in self.proxy.exchanges)


@pytest.fixture
def network(seaweedfs_server: Server, s3_credentials: None, new_prefix: Callable[[], str]) -> Iterator[Network]:
    prefix = new_prefix()
    with FaultProxy(seaweedfs_server.endpoint) as proxy:
        uri = replace(seaweedfs_server, endpoint=proxy.endpoint).uri(prefix)
        yield Network(
            proxy,
            open_store(seaweedfs_server.uri(prefix)),
            open_store(uri, deadline=NO_RETRY, read_timeout=10),
            open_store(uri, deadline=1, read_timeout=10),
            open_store(uri, deadline=20, read_timeout=10),
        )


_BIG = (1 << 20) + 17
"""More than a pack takes in, and than boto3 sends without asking."""


class Scene:
    """A committed module, an operation on it that meets faults, and what must hold after that."""

    def __init__(self, path: Path, network: Network) -> None:
        self.network = network
        self.rig = Rig(path, network.direct)
        self.rig.module.erase()  # of an example that failed
        self.source = make_source(path / "source", big=_BIG)
        self.old = snapshot(self.source)
        self.head = self.rig.save(self.source).head
        self.new = self.old

    def edit(self) -> None:
        self.new = edit_source(self.source)

    def dehydrate(self, store: BlobStore) -> None:
        committed = self.rig.using(store).module.dehydrate(self.head, self.source, index=self.rig.index)
        assert self.rig.claimed() == committed.head

    def hydrate(self, store: BlobStore) -> None:
        self.rig.index.unlink()
        self.rig.using(store).load("copy", self.head)

    def erase(self, store: BlobStore) -> None:
        self.rig.using(store).module.erase()

    def survives_dehydration(self, error: BackendsError | None) -> None:
        """Old or new state, whole; the next dehydration commits and leaves no orphan."""
        after = snapshot(self.rig.load("after"))
        assert after in ((self.new,) if error is None else (self.old, self.new))
        assert snapshot(self.source) == self.new
        self.rig.save(self.source)
        assert snapshot(self.rig.load("final")) == self.new
        assert self.rig.orphans() == set()

    def survives_hydration(self, error: BackendsError | None) -> None:
        """The whole tree, or nothing on the disk; the data is where it was."""
        copy = self.rig.path / "copy"
        if error is None:
            assert snapshot(copy) == self.old
        else:
            assert not copy.exists()
            assert self.rig.scraps() == []
            assert not self.rig.index.exists()
        assert snapshot(self.rig.load("after")) == self.old
        assert self.rig.claimed() == self.head

    def survives_erasure(self, error: BackendsError | None) -> None:
        """Nothing is left, or a repeated erasure leaves nothing and an interrupted one lets nobody commit or claim."""
        if error is not None:
            found = self.rig.module.read_head()
            if found is not None and found.tombstone:
                with pytest.raises(BackendsError):
                    self.rig.save(self.source)
            self.rig.module.erase()
        assert list(self.network.direct.remains("_tenant-1/")) == []

    def run(self, operation: str, store: BlobStore, *rules: Rule) -> BackendsError | None:
        """One operation under rules, and all that must hold after it.

        Args:
            operation: "dehydration", "hydration" or "erasure".
            store: Through the proxy.
            *rules: What happens on the way.

        Returns:
            How it failed, if it did.
        """
        if operation == "dehydration":
            self.edit()
        act = {"dehydration": self.dehydrate, "hydration": self.hydrate, "erasure": self.erase}[operation]
        survives = {
            "dehydration": self.survives_dehydration,
            "hydration": self.survives_hydration,
            "erasure": self.survives_erasure,
        }[operation]
        self.network.proxy.script(*rules)
        error: BackendsError | None = None
        try:
            act(store)
        except BackendsError as caught:
            error = caught
            assert error.hint
        survives(error)
        self.rig.module.erase()
        return error


def struck_one_by_one(network: Network, operation: str, store: BlobStore, shift: int) -> Iterator[BackendsError | None]:
    """Strike one request after the other, until one more than there are."""
    for number in itertools.count():
        rule = Rule(FAULTS[(number + shift) % len(FAULTS)], first=number)
        with workspace() as path:
            error = Scene(path, network).run(operation, store, rule)
        if not network.met:
            assert number > OPERATIONS[operation]
            return
        yield error


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_fault_and_no_second_attempt(network: Network, operation: str, shift: int) -> None:
    """Whichever request is struck: equal or a typed error, and a clean attempt later succeeds."""
    for error in struck_one_by_one(network, operation, network.impatient, shift):
        assert error is None or isinstance(error, BackendUnavailable | CorruptData)


@pytest.mark.parametrize("shift", [shift + 5 for shift in SHIFTS])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_fault_is_not_even_seen(network: Network, operation: str, shift: int) -> None:
    """With time for a second attempt, one fault of any request is nothing that its caller hears of."""
    for error in struck_one_by_one(network, operation, network.patient, shift):
        assert error is None


rules = st.builds(
    Rule,
    st.sampled_from(FAULTS),
    first=st.integers(0, 25),
    count=st.one_of(st.integers(1, 3), st.none()),
    method=st.sampled_from([None, None, "GET", "PUT", "POST"]),
    at=st.floats(0, 1),
    seconds=st.just(0.02),
)


@given(operation=st.sampled_from(list(OPERATIONS)), plan=st.lists(rules, min_size=1, max_size=4), patient=st.booleans())
@settings(
    max_examples=settings.default.max_examples // 5 if settings.default else 20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_faults(network: Network, operation: str, plan: list[Rule], *, patient: bool) -> None:
    """Several faults, some for good: equal or a typed error, and a clean attempt later succeeds."""
    with workspace() as path:
        Scene(path, network).run(operation, network.hasty if patient else network.impatient, *plan)


@pytest.mark.parametrize("fault", [Fault.FLIPPED_ANSWER, Fault.TRUNCATED])
def test_damage_that_lasts(network: Network, fault: Fault) -> None:
    """What is read damaged again and again is named: as corrupt if it is whole, as not to be had if it is cut off."""
    with workspace() as path:
        scene = Scene(path, network)
        blobs = [info.key for info in network.direct.list("_tenant-1/blobs/")]
        assert len(blobs) == 3  # a pack, a chunk, the manifest
        for number, blob in enumerate(blobs):
            network.proxy.script(Rule(fault, count=None, path=blob))
            with pytest.raises(CorruptData if fault is Fault.FLIPPED_ANSWER else BackendUnavailable) as caught:
                scene.rig.using(network.hasty).load(f"copy{number}", scene.head)
            assert blob in str(caught.value)
            assert len(network.proxy.struck) > 1
            if isinstance(caught.value, CorruptData):
                assert caught.value.blob == blob
            assert not (path / f"copy{number}").exists()
        assert snapshot(scene.rig.load("copy")) == scene.old


def test_slow_is_not_broken(network: Network) -> None:
    """When everything is slow, everything works."""
    with workspace() as path:
        rules = Rule(Fault.LATENCY, count=None, method="PUT"), Rule(Fault.DRIP, count=None)
        assert Scene(path, network).run("dehydration", network.patient, *rules) is None
