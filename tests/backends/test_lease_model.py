"""Owners that share a module and no clock: whatever is slow, lost or in each other's way, one holds it at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backends import (
    BackendsError,
    BackendUnavailable,
    BlobNotFound,
    BlobStore,
    Data,
    Guard,
    Head,
    LeaseObserver,
    RemoteModule,
    open_store,
)
from tests.backends.stores import T, Wrapped

LEASE_S = 30.0
PAUSES = st.sampled_from([0.0, 1.0, 14.0, 29.0, 31.0, 400.0])
NAMES = ("one", "two", "three")
OPERATIONS = st.sampled_from(
    [*["claim"] * 5, *["renew"] * 3, *["commit"] * 3, "send_home", "release", "erase", "erase_stragglers"]
)
SKEWS = {"one": 0.0, "two": 1e6, "three": -5e5}
"""What the owners' clocks show beside the truth, in s."""


class Truth(Wrapped):
    """Judges each write of a head at the moment when it happens."""

    def __init__(self, store: BlobStore, world: World) -> None:
        super().__init__(store)
        self.world = world

    def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
        return do()

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        guard: Guard | None = None,
    ) -> str:
        if not key.endswith("/head"):
            return self.inner.put(key, data, guard=guard)
        try:
            old = Head.from_json(*self.inner.get(key))
        except BlobNotFound:
            old = None
        etag = self.inner.put(key, data, if_match=if_match, if_none_match=if_none_match)
        self.world.judge(old, Head.from_json(bytes(data), etag))
        return etag


class Wire(Wrapped):
    """One owner's way to the store: before one of its calls something happens, and its answer may be lost."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.left, self.lost = 0, False
        self.act: Callable[[], object] | None = None

    def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
        self.left -= 1
        mine, act = self.left == -1, self.act
        if mine and act is not None:
            self.act = None
            act()
        result = do()
        if mine and self.lost:
            raise BackendUnavailable("the answer was lost")
        return result


@dataclass
class Owner:
    """A hub, as far as it matters here.

    Attributes:
        head: the last head that it had of its own.
        giving: whether it is giving its lease back, and counts on none.
        believes: until when it holds the module, by each claim, in true time: from before the request.
    """

    wire: Wire
    module: RemoteModule
    head: Head | None = None
    giving: bool = False
    believes: dict[str, float] = field(default_factory=dict[str, float])


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        (self.path / "source").mkdir()
        self.now = 0.0
        self.writes = 0
        self.wrong: list[str] = []
        self.claims: set[str] = set()
        self.straggling: set[str] = set()
        truth = Truth(open_store((self.path / "store").as_uri()), self)
        self.owners: dict[str, Owner] = {}
        for name in NAMES:
            wire = Wire(truth)
            observer = LeaseObserver(partial(self.clock_of, name))
            self.owners[name] = Owner(wire, RemoteModule(wire, "m", owner=name, observer=observer, workers=1))

    def teardown(self) -> None:
        self.folder.cleanup()

    def clock_of(self, name: str) -> float:
        return self.now + SKEWS[name]

    def judge(self, old: Head | None, new: Head) -> None:
        """Look at a write that has just happened."""
        if old is not None and old.tombstone and old.term != new.term:
            self.wrong.append(f"{new.claim} was written over a tombstone")
        if new.tombstone and old is not None and not old.tombstone and new.owner in self.straggling:
            self.wrong.append(f"{old.claim} was taken for a straggler")
        if old is None or old.claim != new.claim:
            if new.claim in self.claims:
                self.wrong.append(f"{new.claim} is used twice")
            self.claims.add(new.claim)
            if old is not None and not new.tombstone and old.manifest != new.manifest:
                self.wrong.append(f"{new.claim} committed by its claim")
            if old is not None and not new.tombstone and old.owner != new.owner:
                until = self.owners[old.owner].believes.get(old.claim, self.now)
                if until > self.now:
                    self.wrong.append(f"{new.claim} took the module {until - self.now} s before {old.claim} ran out")
        elif old.manifest != new.manifest and old.term == new.term:
            self.wrong.append(f"{new.claim} committed without a new term")

    def claim(self, owner: Owner) -> None:
        found = owner.module.read_head()
        began = self.now
        owner.head = owner.module.claim(found, "store", lease_s=LEASE_S)
        owner.believes[owner.head.claim] = began + LEASE_S

    def renew(self, owner: Owner) -> None:
        if owner.head is None:
            return
        began = self.now
        owner.head = owner.module.renew(owner.head.claim, lease_s=LEASE_S)
        if not owner.giving:
            owner.believes[owner.head.claim] = began + LEASE_S

    def commit(self, owner: Owner, *, release: bool = False) -> None:
        if owner.head is None:
            return
        self.writes += 1
        (self.path / "source" / "file").write_bytes(b"%d" % self.writes)
        held = owner.head
        index = self.path / f"index-{owner.module.owner}"
        done = owner.module.dehydrate(held, self.path / "source", index=index, release=release)
        if owner.head is held:
            owner.head = done.head
        if done.head.claim != held.claim:
            self.wrong.append(f"{held.claim} committed as {done.head.claim}")

    def send_home(self, owner: Owner) -> None:
        with self.giving(owner):
            self.commit(owner, release=True)

    def release(self, owner: Owner) -> None:
        if owner.head is not None:
            with self.giving(owner):
                owner.module.release(owner.head)

    @contextmanager
    def giving(self, owner: Owner) -> Generator[None]:
        if owner.head is not None:
            owner.believes.pop(owner.head.claim, None)
        owner.giving = True
        try:
            yield
        finally:
            owner.giving = False

    def erase(self, owner: Owner) -> None:
        owner.module.erase()

    def erase_stragglers(self, owner: Owner) -> None:
        self.straggling.add(owner.module.owner)
        try:
            owner.module.erase_stragglers()
        finally:
            self.straggling.clear()

    def perform(self, name: str, operation: str) -> None:
        try:
            getattr(self, operation)(self.owners[name])
        except BackendsError:
            return

    @rule(seconds=PAUSES)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=st.sampled_from(NAMES), operation=OPERATIONS)
    def undisturbed(self, name: str, operation: str) -> None:
        self.perform(name, operation)

    @rule(name=st.sampled_from(NAMES), holder=st.sampled_from(NAMES), waits=st.lists(PAUSES, min_size=1, max_size=4))
    def vie(self, name: str, holder: str, waits: list[float]) -> None:
        """One holds the module, perhaps renews, and another tries to get it again and again."""
        self.perform(holder, "claim")
        for seconds in waits:
            self.perform(name, "claim")
            self.now += seconds
            if seconds < LEASE_S / 2:
                self.perform(holder, "renew")
        self.perform(name, "claim")

    @rule(
        name=st.sampled_from(NAMES),
        operation=OPERATIONS,
        at=st.integers(0, 9),
        before=PAUSES,
        other=st.sampled_from(NAMES),
        meanwhile=OPERATIONS,
        after=PAUSES,
        lost=st.booleans(),
    )
    def disturbed(
        self,
        *,
        name: str,
        operation: str,
        at: int,
        before: float,
        other: str,
        meanwhile: str,
        after: float,
        lost: bool,
    ) -> None:
        """Time passes, and somebody does something, while a call is under way. Alone an owner only renews meanwhile."""
        wire = self.owners[name].wire

        def act() -> None:
            self.now += before
            self.perform(other, "renew" if other == name else meanwhile)
            self.now += after

        wire.left, wire.lost, wire.act = at, lost, act
        self.perform(name, operation)
        wire.left, wire.lost, wire.act = 0, False, None

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert self.wrong == []


TestLeases = World.TestCase
TestLeases.settings = settings(max_examples=100, stateful_step_count=40)
