"""What a running hub tells of itself: pages, usage, logs, events, counters; with real processes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from actors import Actor
from hub import (
    Event,
    FindModules,
    Hub,
    InvalidMessage,
    InvalidModuleId,
    Kind,
    LocalDataError,
    LogChunk,
    ModuleNotFound,
    Provision,
    ReadLog,
    State,
    Subscribe,
    __version__,
)
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.kinds.store_process import wait_for
from tests.hub.observer import Observer
from tests.hub.slow import slow_hydration
from tests.hub.tiny_client import put

pytestmark = pytest.mark.e2e

# Says what stands in its data directory's file `say`, as often as that changes.
TALKING = """
import os, pathlib, socket, sys, threading, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(8)
said = ""
path = pathlib.Path(sys.argv[2]) / "say"
while True:
    text = path.read_text() if path.exists() else ""
    if text != said:
        sys.stdout.write(text)
        sys.stdout.flush()
        said = text
    time.sleep(0.002)
"""


@pytest.fixture
def talking() -> Kind:
    return Kind("talking", [sys.executable, "-I", "-S", "-u", "-c", TALKING, "{port}", "{data_dir}"], stop_timeout=5.0)


def say(hub: Hub, module_id: str, text: str) -> None:
    """Let a talking module write something, and wait until it stands in its log."""
    directory = hub.module(module_id).data_dir
    assert directory is not None
    before = hub.log(module_id).size
    (directory / "say.new").write_text(text)
    (directory / "say.new").rename(directory / "say")
    wait_for(lambda: hub.log(module_id).size >= before + len(text.encode()) or hub.log(module_id).text.endswith(text))


class Follower:
    """Reads a log on from where it was."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.seen = ""
        self.chunk = hub.log("m")

    def read_on(self, wanted: str) -> None:
        """Read until all is there that is wanted, and nothing else."""

        def complete() -> bool:
            last = self.chunk
            more = self.hub.log("m", offset=last.next_offset, log_id=last.log_id, max_bytes=300)
            assert more.offset == last.next_offset
            assert more.log_id == last.log_id
            self.chunk, self.seen = more, self.seen + more.text
            assert wanted.startswith(self.seen)
            return len(self.seen) == len(wanted)

        wait_for(complete)
        assert self.chunk.size == len(wanted.encode())


def test_what_a_server_uses_is_told_while_it_runs(make_hub: MakeHub) -> None:
    """Samples of memory and processor time: the last one with the module, all of them on request, none asleep."""
    hub = make_hub(usage_interval=0.02)
    pid = hub.provision("m").pid
    assert pid is not None
    wait_for(lambda: len(hub.usage("m")) >= 3)
    samples = hub.usage("m")
    assert [sample.at for sample in samples] == sorted(sample.at for sample in samples)
    assert abs(samples[-1].at - time.time()) < 10
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert 0.5 * resident < samples[-1].memory_bytes < 2 * resident
    told = hub.module("m")
    assert told.memory_bytes
    assert told.cpu_percent is not None
    hub.provision("other")
    hub.hibernate("m")
    told = hub.module("m")
    assert (told.memory_bytes, told.cpu_percent, hub.usage("m")) == (None, None, ())
    wait_for(lambda: hub.module("other").memory_bytes is not None)
    assert [module.module_id for module in hub.find(sort="-memory_bytes").modules] == ["other", "m"]
    with pytest.raises(ModuleNotFound):
        hub.usage("nobody")


@pytest.mark.parametrize("never", [None, 0])
def test_usage_need_not_be_sampled(never: Any, make_hub: MakeHub) -> None:
    """Without an interval nobody looks."""
    hub = make_hub(usage_interval=never)
    names = {info.name for info in hub.registry.cell.system.actors()}
    assert "liveness" in names
    assert "usage" not in names


def test_when_and_how_long_is_told(make_hub: MakeHub) -> None:
    """Since when it is in its state, for how long its server is up, and of when the backend's copy is."""
    hub = make_hub()
    before = time.time()
    up = hub.provision("m")
    assert before <= up.since <= time.time()
    assert up.uptime_s is not None
    wait_for(lambda: (hub.module("m").uptime_s or 0) > up.uptime_s)  # type: ignore[operator] # pyright: ignore[reportOptionalOperand] # see above
    assert hub.module("m").since == up.since
    asleep = hub.hibernate("m")
    assert (asleep.uptime_s, asleep.op_id) == (None, None)
    assert asleep.since > up.since
    copied = hub.checkpoint("m")
    assert copied.checkpointed_at > asleep.since
    assert copied.since == asleep.since
    again = hub.wake("m")
    assert again.uptime_s is not None
    assert again.uptime_s < time.time() - before


def test_a_page_never_waits_behind_an_operation(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a module is held, it stands on the page with its operation; its log and its usage are told too."""
    begun, go_on = slow_hydration(monkeypatch)
    hub = make_hub()
    message = Provision("m")
    reply = hub.registry.ask(message, block=False)
    try:
        assert begun.wait(10)
        (module,) = hub.find(states=[State.PROVISIONING]).modules
        assert (module.module_id, module.op_id) == ("m", message.op_id)
        assert hub.find().states["provisioning"] == 1
        assert hub.log("m") == LogChunk("m", "", 0, 0, 0)
        assert hub.usage("m") == ()
    finally:
        go_on.set()
    reply.get(timeout=20)
    with pytest.raises(InvalidMessage):
        hub.ask(FindModules(sort="nonsense"))


def test_a_follower_reads_everything_over_rotations_and_restarts(
    make_hub: MakeHub, talking: Kind, tmp_path: Path
) -> None:
    """Reading on where it was, one who keeps up misses nothing and reads nothing twice; the next hub goes on there."""
    most = 1024
    options: dict[str, Any] = {"kinds": [talking], "default_kind": "talking", "log_max_bytes": most}
    hub = make_hub(sweep_interval=0.02, **options)
    hub.provision("m")
    follower = Follower(hub)
    log, older = tmp_path / "data" / "logs" / "m", tmp_path / "data" / "logs" / "m.1"
    written = ""
    for number in range(4):
        text = f"round {number} " + "é€" * 200 + "\n"
        say(follower.hub, "m", text)
        written += text
        follower.read_on(written)
        # What is written in the midst of a rotation may be lost.
        wait_for(lambda: log.stat().st_size < most)
        if number == 2:
            wait_for(older.exists)
            hub.close()
            follower.hub = make_hub(sweep_interval=0.02, **options)
            follower.hub.wake("m")
            written += text  # it says again what it said last: its data is what it was
            follower.read_on(written)
            wait_for(lambda: log.stat().st_size < most)


def test_another_log_has_another_id(make_hub: MakeHub, talking: Kind) -> None:
    """Sent home and back, a module begins a new log; who follows by the id reads that one from its beginning."""
    hub = make_hub(kinds=[talking], default_kind="talking")
    hub.provision("m")
    say(hub, "m", "before\n")
    first = hub.log("m")
    assert first.text == "before\n"
    hub.deprovision("m")
    with pytest.raises(ModuleNotFound):
        hub.log("m")
    hub.provision("m")
    wait_for(lambda: hub.log("m").text == "before\n")
    say(hub, "m", "after\n")
    then = hub.log("m", offset=first.next_offset, log_id=first.log_id)
    assert (then.text, then.offset) == ("before\nafter\n", 0)
    assert then.log_id != first.log_id
    hub.obliterate("m")
    assert hub.find().total == 0


@pytest.mark.parametrize(
    "given",
    [{"offset": -1}, {"offset": "0"}, {"max_bytes": 0}, {"max_bytes": 2**20 + 1}, {"max_bytes": True}, {"log_id": 5}],
)
def test_what_can_not_be_read_of_a_log_is_refused(given: dict[str, Any], make_hub: MakeHub) -> None:
    """A number out of its range is the caller's error, and named."""
    hub = make_hub()
    hub.provision("m")
    with pytest.raises(InvalidMessage, match=next(iter(given))):
        hub.ask(ReadLog("m", **given))


def test_a_log_that_can_not_be_read_is_told(make_hub: MakeHub, tmp_path: Path) -> None:
    """A disk that refuses is a typed error, and the next look finds the log again."""
    hub = make_hub()
    hub.provision("m")
    log = tmp_path / "data" / "logs" / "m"
    log.rename(log.with_name("aside"))
    log.mkdir()
    with pytest.raises(LocalDataError, match="log of module 'm'"):
        hub.log("m")
    log.rmdir()
    log.with_name("aside").rename(log)
    assert hub.log("m").text == ""


class Listener(Actor):
    """A plugin that keeps what it hears."""

    heard: ClassVar[list[Event]] = []

    def __init__(self, registry: Any) -> None:
        super().__init__()
        self._registry = registry

    async def on_start(self) -> None:
        self.heard.clear()
        await self._registry.ask_async(Subscribe(self.actor_ref))

    def on_receive(self, message: Any) -> None:
        self.heard.append(message)


def test_who_listens_and_who_reads_is_told_the_same(make_hub: MakeHub) -> None:
    """Live events and remembered ones carry the same numbers and times: one goes on where the other ended."""
    hub = make_hub(plugins=[Listener])
    hub.provision("m")
    hub.hibernate("m")
    page = hub.events(after=0)
    wait_for(lambda: bool(Listener.heard) and Listener.heard[-1].number == page.last)
    remembered = {event.number: event for event in page.events}
    assert len(remembered) == page.last
    for event in Listener.heard:
        record = remembered[event.number]
        assert (record.name, record.at, record.module_id, record.fields) == (
            event.name,
            event.at,
            event.module_id,
            event.fields,
        )
    assert [event.fields["to_state"] for event in hub.events("m").events if event.name == "module.transition"] == [
        "provisioning",
        "provisioned",
        "hibernating",
        "hibernated",
    ]
    with pytest.raises(InvalidModuleId):
        hub.events("../m")


def test_of_an_obliterated_module_only_its_end_is_remembered(make_hub: MakeHub) -> None:
    """Those who watch learn that it is gone, and nothing else of it can be read."""
    hub = make_hub()
    hub.provision("m")
    hub.provision("other")
    hub.obliterate("m")
    about = [event.name for event in hub.events().events if event.module_id == "m"]
    assert about == ["module.obliterated"]
    assert hub.events("m").events == ()
    assert hub.events("other").events != ()


def test_each_run_of_the_hub_counts_anew(make_hub: MakeHub, events: Observer) -> None:
    """Another run has another id, under which its events begin at 1."""
    hub = make_hub()
    first = hub.events()
    hub.close()
    second = make_hub().events()
    assert first.run_id != second.run_id
    assert second.events[0].number == 1
    assert events.wait("hub.started", count=2)["run_id"] == second.run_id


def test_the_hubs_counters(make_hub: MakeHub) -> None:
    """Modules, operations, events and transfers since its start, and what it uses itself."""
    hub = make_hub()
    before = time.time()
    put(hub.provision("m"), "k", "v" * 5000)
    hub.deprovision("m")
    hub.provision("m")
    hub.hibernate("m")
    with pytest.raises(ModuleNotFound):
        hub.wake("nobody")
    stats = hub.stats()
    assert (stats.version, stats.pid) == (__version__, os.getpid())
    assert before - 60 < stats.started_at <= before
    assert 0 < stats.uptime_s < 60
    assert stats.cpu_s > 0
    assert 10e6 < stats.memory_bytes < 2e9
    assert {state: number for state, number in stats.states.items() if number} == {"hibernated": 1}
    assert stats.dirty == 1
    assert stats.operations == {
        "provision": {"done": 2},
        "deprovision": {"done": 1},
        "hibernate": {"done": 1},
        "wake": {"failed": 1},
    }
    assert stats.events["module.transition"] == 8
    assert stats.events["hub.started"] == 1
    assert stats.uploaded_bytes >= 1
    assert stats.downloaded_bytes >= 5000
    assert stats.backend == hub.backend_status()
    assert stats.run_id == hub.events().run_id


def test_the_kinds_are_told(make_hub: MakeHub) -> None:
    """The default one first, the others by name."""
    assert make_hub(kinds=[tiny_kind("zoo"), tiny_kind()]).kinds() == ("tiny", "postgres", "redis", "store", "zoo")
