"""Checkpoints of real modules: what goes home while they run, and what ends that."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backends import Head, RemoteModule, open_store
from hub import (
    BackendError,
    Checkpoint,
    CheckpointFailed,
    Deprovision,
    Hub,
    InvalidState,
    JournalError,
    Kind,
    LocalDataError,
    ModuleFault,
    ModuleInfo,
    ModuleNotFound,
    OperationCancelled,
    OperationTimeout,
    State,
)
from hub.instance import procfs
from hub.journal import Journal
from hub.layout import Layout
from hub.module import Module
from hub.orders import KillHung
from hub.record import ModuleRecord
from tests.hub.blocking import Block
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.faulty import faulty_backend
from tests.hub.kinds.store_process import wait_for
from tests.hub.marked import processes_of
from tests.hub.observer import Observer
from tests.hub.resp import command
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e

# A lease that another hub need not wait for, once its holder is gone.
SOON = 0.2
COPY = ["sh", "-c", 'cp -a "$1/." "$2/"', "sh", "{data_dir}", "{checkpoint_dir}"]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[Gated]:
    gated = Gated(tmp_path)
    yield gated
    gated.close()


class Gated:
    """A hook that copies the data, notes its process id, and waits for the test."""

    def __init__(self, folder: Path) -> None:
        self._begun = folder / "begun"
        self._gate = folder / "gate"
        os.mkfifo(self._gate)
        # Open for both directions, so that a word that no hook has read yet stays.
        self._descriptor = os.open(self._gate, os.O_RDWR)
        script = 'cp -a "$1/." "$2/"; echo $$ >> "$3"; read word < "$4"'
        self.hook = ["sh", "-c", script, "sh", "{data_dir}", "{checkpoint_dir}", str(self._begun), str(self._gate)]

    @property
    def kind(self) -> Kind:
        return tiny_kind(checkpoint=self.hook)

    def pids(self) -> list[int]:
        return [int(line) for line in self._begun.read_text().split()] if self._begun.exists() else []

    def wait_begun(self, count: int = 1) -> None:
        wait_for(lambda: len(self.pids()) >= count)

    def let_go(self) -> None:
        """Let one hook go on, now or when it comes."""
        os.write(self._descriptor, b"go\n")

    def close(self) -> None:
        os.close(self._descriptor)


def alive(pid: int) -> bool:
    stat = procfs.read_stat(pid)
    return stat is not None and stat.state != "Z"


def head_of(backend: Path, module_id: str = "m") -> Head | None:
    return RemoteModule(open_store(f"file://{backend}"), module_id, owner="test").read_head()


def manifest_of(backend: Path) -> str | None:
    head = head_of(backend)
    return None if head is None else head.manifest


def module_folder(data: Path) -> list[str]:
    """What lies beside a module's data, its index aside."""
    (folder,) = (data / "modules").iterdir()
    return sorted(path.name for path in folder.iterdir() if path.name not in {"data", "index"})


def lose(data: Path) -> None:
    """Lose a machine's disk."""
    shutil.rmtree(data)


def test_a_running_module_is_sent_home_as_it_is(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """State, process and data stay as they are; the backend has a copy, and nothing of it is left here."""
    hub = make_hub(lease=SOON, kinds=[tiny_kind(checkpoint=COPY)])
    info = hub.provision("m")
    put(info, "k", "v1")
    message = Checkpoint("m")
    after = hub.ask(message)
    assert (after.state, after.pid, after.dirty) == (State.PROVISIONED, info.pid, True)
    put(info, "k", "v2")
    assert module_folder(tmp_path / "data") == []
    told = events.wait("checkpoint.completed", module_id="m", op_id=message.op_id)
    assert (told["files"], told["bytes"]) == (1, 2)
    assert told["uploaded_bytes"] > 0
    assert told["duration_ms"] > 0
    operation = hub.operation(message.op_id)
    assert (operation.operation, operation.status, operation.bytes_done) == (
        "checkpoint",
        "done",
        operation.bytes_total,
    )
    assert [e["to_state"] for e in events.all("module.transition")] == ["provisioning", "provisioned"]
    assert events.all("dehydration.completed") == []
    hub.close()
    lose(tmp_path / "data")
    assert get(make_hub(kinds=[tiny_kind(checkpoint=COPY)], data="other").provision("m"), "k") == "v1"


def test_what_has_not_changed_is_not_sent_again(make_hub: MakeHub, events: Observer) -> None:
    """A second checkpoint of the same data moves no content, nor does the deprovision after it."""
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)])
    put(hub.provision("m"), "k", "v" * 40_000)
    for _ in range(2):
        hub.checkpoint("m")
    first, second = events.all("checkpoint.completed")
    assert first["uploaded_bytes"] > 500
    assert second["uploaded_bytes"] == 0
    hub.deprovision("m")
    assert events.all("dehydration.completed")[0]["uploaded_bytes"] == 0


@pytest.mark.parametrize("kind", ["store", "redis"])
def test_the_loss_of_a_machine_costs_what_came_after_the_checkpoint(
    kind: str, make_hub: MakeHub, tmp_path: Path
) -> None:
    """The host is killed and its disk lost: elsewhere the server starts with all that came before."""
    with host(tmp_path, kind) as process:
        process.kill()
    lose(tmp_path / "data")
    info = make_hub(data="other").provision("m")
    assert info.kind == kind
    assert [value_of(info, key) for key in ("k", "later")] == ["before", None]


def test_a_checkpoint_that_was_killed_leaves_nothing(make_hub: MakeHub, tmp_path: Path) -> None:
    """The next start deletes the half of a copy, the hook is gone, and the backend was not touched."""
    with host(tmp_path, "stuck", "--stuck") as process:
        assert module_folder(tmp_path / "data") == ["checkpoint"]
        process.kill()
    hub = make_hub(kinds=[tiny_kind("stuck", checkpoint=COPY)], default_kind="stuck")
    assert module_folder(tmp_path / "data") == []
    head = head_of(tmp_path / "backend")
    assert head is not None
    assert head.manifest is None
    info = hub.provision("m")
    assert get(info, "k") == "before"
    hub.checkpoint("m")


def test_what_a_hook_started_is_not_adopted_with_its_server(
    make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """It carries the marks of the server's own daemons, which are spared, and would write into the next copy."""
    with host(tmp_path, "forking", "--stuck", "--leave") as process:
        process.kill()
    hub = make_hub(kinds=[tiny_kind("forking", checkpoint=COPY)], default_kind="forking")
    events.wait("instance.adopted", module_id="m")
    (server,) = processes_of(tmp_path / "data")
    assert "tiny_server.py" in server
    assert {record["command"] for record in events.all("hub.orphan_killed")} == {"sleep 3601"}
    hub.checkpoint("m")


def host(root: Path, kind: str, *flags: str) -> subprocess.Popen[str]:
    arguments = [str(root / "data"), str(root / "backend"), kind, *flags]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hub.e2e.checkpointing_host", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def value_of(info: ModuleInfo, key: str) -> str | None:
    assert info.port is not None
    if info.kind == "redis":
        return command(info.port, "GET", key)
    connection = http.client.HTTPConnection("127.0.0.1", info.port, timeout=10)
    connection.request("GET", f"/blobs/{key}")
    answer = connection.getresponse()
    value = answer.read().decode()
    connection.close()
    return value if answer.status == 200 else None


def test_those_who_ask_meanwhile_share_one_that_began_later(
    make_hub: MakeHub, gated: Gated, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """What was written before a request is in what answers it: a copy that was begun before is not enough."""
    hub = make_hub(lease=SOON, kinds=[gated.kind])
    info = hub.provision("m")
    put(info, "k", "first")
    first = pool.submit(hub.checkpoint, "m")
    gated.wait_begun()
    put(info, "k", "second")
    later = [hub.registry.ask(Checkpoint("m"), block=False) for _ in range(3)]
    assert hub.module("m").state is State.PROVISIONED
    for _ in range(2):
        gated.let_go()
    for asked in later:
        assert asked.get(timeout=20).state is State.PROVISIONED
    first.result()
    assert len(gated.pids()) == 2
    hub.close()
    lose(tmp_path / "data")
    assert get(make_hub(data="other").provision("m"), "k") == "second"


def test_its_steps_are_told(make_hub: MakeHub, gated: Gated, pool: ThreadPoolExecutor) -> None:
    """While it runs the operation can be asked for, and a caller that gave up finds it going on."""
    hub = make_hub(kinds=[gated.kind])
    put(hub.provision("m"), "k", "v")
    message = Checkpoint("m")
    asked = pool.submit(hub.ask, message, 0.2)
    gated.wait_begun()
    running = hub.operation(message.op_id)
    assert (running.operation, running.step, running.status) == ("checkpoint", "checkpoint hook", "running")
    with pytest.raises(OperationTimeout) as late:
        asked.result()
    assert (late.value.started, late.value.op_id) == (True, message.op_id)
    gated.let_go()
    wait_for(lambda: hub.operation(message.op_id).status == "done")
    assert hub.operation(message.op_id).step == "dehydrating"


@pytest.mark.parametrize("end", ["hibernate", "deprovision", "obliterate", "crash", "close"])
def test_any_operation_ends_the_hook(
    end: str, make_hub: MakeHub, gated: Gated, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """Its processes are gone, what it wrote is deleted, and all who wait for it or for the next are told."""
    hub = make_hub(kinds=[gated.kind], retry_delay=30.0)
    info = hub.provision("m")
    put(info, "k", "v")
    asked = [pool.submit(hub.checkpoint, "m")]
    gated.wait_begun()
    waiting = hub.registry.ask(Checkpoint("m"), block=False)
    hub.modules()  # the registry has forwarded what came before this
    if end == "crash":
        assert info.pid is not None
        os.kill(info.pid, 9)
    else:
        getattr(hub, end)(*([] if end == "close" else ["m"]))
    for future in asked:
        with pytest.raises(OperationCancelled, match="checkpoint of module 'm'"):
            future.result(timeout=20)
    with pytest.raises(OperationCancelled):
        waiting.get(timeout=20)
    assert not any(alive(pid) for pid in gated.pids())
    assert len(gated.pids()) == 1
    if end in {"hibernate", "crash", "close"}:
        wait_for(lambda: module_folder(tmp_path / "data") == [])
        head = head_of(tmp_path / "backend")
        assert head is not None
        assert head.manifest is None
    elif end == "obliterate":
        assert head_of(tmp_path / "backend") is None
    if end != "close":
        again = hub.provision("m")
        assert get(again, "k") == (None if end == "obliterate" else "v")


def test_an_upload_that_hangs_holds_up_only_what_moves_data(
    make_hub: MakeHub, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hibernate, wake and recover go on at once; a deprovision begins when the transfer's threads have ended."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)])
    info = hub.provision("m")
    put(info, "k", "v")
    block = Block()
    faults.on("put", block)
    asked = pool.submit(hub.checkpoint, "m")
    assert block.began.wait(10)
    try:
        assert hub.hibernate("m", timeout=10).state is State.HIBERNATED
        assert not asked.done()
        assert hub.wake("m", timeout=10).state is State.PROVISIONED
        # A new checkpoint waits for the end of the old one, and is ended like it.
        second = hub.registry.ask(Checkpoint("m"), block=False)
        going = Deprovision("m")
        home = hub.registry.ask(going, block=False)
        with pytest.raises(OperationCancelled, match="deprovision began"):
            second.get(timeout=10)
        assert (known(hub, going.op_id), hub.module("m").state) == ("ending a checkpoint", State.PROVISIONED)
    finally:
        faults.clear()
        block.go_on.set()
    with pytest.raises(OperationCancelled, match="hibernate began"):
        asked.result(timeout=20)
    assert home.get(timeout=20).state is State.UNPROVISIONED
    assert get(hub.provision("m"), "k") == "v"


def test_an_upload_that_hangs_does_not_hold_up_a_module_whose_actor_has_a_defect(
    make_hub: MakeHub, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defect ends the checkpoint, and the module goes on at once."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)])
    put(hub.provision("m"), "k", "v")
    block = Block()
    faults.on("put", block)
    asked = pool.submit(hub.checkpoint, "m")
    assert block.began.wait(10)

    async def fail(_self: Module, _epoch: int, _misses: int) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr(Module, "_kill_hung", fail)
    try:
        hub.registry.tell(KillHung("m", epoch=1, misses=3))
        assert hub.hibernate("m", timeout=10).state is State.HIBERNATED
        assert not asked.done()
    finally:
        faults.clear()
        block.go_on.set()
    with pytest.raises(OperationCancelled, match="a defect of the module's actor"):
        asked.result(timeout=20)


def test_a_copy_that_was_on_its_way_when_its_module_went_to_sleep_is_deleted(
    make_hub: MakeHub, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A hub killed then finds a sleeper, and beside its data a copy that takes as much room again."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)])
    put(hub.provision("m"), "k", "v")
    block = Block()
    faults.on("put", block)
    asked = pool.submit(hub.checkpoint, "m")
    assert block.began.wait(10)
    try:
        hub.hibernate("m", timeout=10)
        shutil.copytree(tmp_path / "data", tmp_path / "killed")
    finally:
        faults.clear()
        block.go_on.set()
    with pytest.raises(OperationCancelled):
        asked.result(timeout=20)
    hub.close()
    assert module_folder(tmp_path / "killed") == ["checkpoint"]
    assert make_hub(data="killed").module("m").state is State.HIBERNATED
    assert module_folder(tmp_path / "killed") == []


def test_a_journal_that_does_not_take_the_time_of_a_checkpoint_holds_nobody_up(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for then is told so at once; without a restart of the hub, the time is not even lost."""
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)])
    put(hub.provision("m"), "k", "v")

    async def refuse(_self: Journal, *_records: ModuleRecord, **_options: bool) -> None:
        raise JournalError("the journal can't be written: database or disk is full")

    with monkeypatch.context() as full:
        full.setattr(Journal, "write", refuse)
        assert hub.checkpoint("m").state is State.PROVISIONED
        with pytest.raises(JournalError):
            hub.hibernate("m", timeout=10)
    assert hub.hibernate("m").state is State.HIBERNATED


def test_an_obliteration_ends_an_upload_and_leaves_nothing(
    make_hub: MakeHub, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also right after a checkpoint, and in the midst of one, no trace stays here or in the backend."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)])
    put(hub.provision("m"), "k", "v")
    hub.checkpoint("m")
    assert hub.obliterate("m").remaining == 0
    assert [path for path in (tmp_path / "backend").rglob("*") if path.is_file()] == []
    put(hub.provision("m"), "k", "v")
    block = Block()
    faults.on("put", block)
    asked = pool.submit(hub.checkpoint, "m")
    assert block.began.wait(10)
    erased = pool.submit(hub.obliterate, "m")
    faults.clear()
    block.go_on.set()
    with pytest.raises(OperationCancelled, match="obliterate began"):
        asked.result(timeout=20)
    assert erased.result(timeout=20).remaining == 0
    assert [path for path in (tmp_path / "backend").rglob("*") if path.is_file()] == []
    assert [*(tmp_path / "data" / "modules").iterdir()] == []


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (["sh", "-c", "echo no room >&2; exit 3"], "'sh' ended with exit code 3"),
        (["true"], "there is no file in"),
        (["sh", "-c", 'rm -rf "$1"', "sh", "{checkpoint_dir}"], "checkpoint"),
        (["sh", "-c", 'rmdir "$1"; ln -s "$2" "$1"', "sh", "{checkpoint_dir}", "{data_dir}"], "checkpoint"),
        (["sleep", "3600"], "it did not end in its checkpoint_timeout"),
        (["no-such-program"], "no-such-program"),
    ],
)
def test_a_hook_that_fails_commits_nothing(
    hook: Any, words: str, make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """What the backend had it still has; the failure is typed and told, and the module goes on."""
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)])
    put(hub.provision("m"), "k", "v")
    hub.checkpoint("m")
    hub.close()
    before = manifest_of(tmp_path / "backend")
    hub = make_hub(kinds=[tiny_kind(checkpoint=hook, checkpoint_timeout=0.3)])
    info = hub.wake("m")
    put(info, "k", "v2")
    with pytest.raises(CheckpointFailed, match=words) as failed:
        hub.checkpoint("m")
    assert failed.value.hint
    assert manifest_of(tmp_path / "backend") == before
    assert module_folder(tmp_path / "data") == []
    assert events.wait("instance.hook_failed", module_id="m")["hook"] == "checkpoint"
    assert events.wait("operation.failed", operation="checkpoint")["error_type"] == "CheckpointFailed"
    assert hub.module("m").state is State.PROVISIONED
    assert get(info, "k") == "v2"


def test_a_link_goes_home_as_a_link(make_hub: MakeHub, tmp_path: Path) -> None:
    """What a hook's links point to is not read, here or where the copy comes back."""
    (tmp_path / "secret").write_text("not the module's")
    script = 'cp -a "$1/." "$2/"; ln -s "$3" "$2/link"; mkfifo "$2/fifo"'
    hook = ["sh", "-c", script, "sh", "{data_dir}", "{checkpoint_dir}", str(tmp_path / "secret")]
    hub = make_hub(lease=SOON, kinds=[tiny_kind(checkpoint=hook)])
    put(hub.provision("m"), "k", "v")
    hub.checkpoint("m")
    hub.close()
    lose(tmp_path / "data")
    data = make_hub(data="other").provision("m").data_dir
    assert data is not None
    assert {path.name for path in data.iterdir()} == {"k", "link"}
    assert (data / "link").readlink() == tmp_path / "secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_refused(make_hub: MakeHub, tmp_path: Path) -> None:
    """It can't be sent, and nothing is committed."""
    hook = ["sh", "-c", 'touch "$1/file"; mknod "$1/null" c 1 3', "sh", "{checkpoint_dir}"]
    hub = make_hub(kinds=[tiny_kind(checkpoint=hook)])
    put(hub.provision("m"), "k", "v")
    with pytest.raises(LocalDataError, match="device"):
        hub.checkpoint("m")
    head = head_of(tmp_path / "backend")
    assert head is not None
    assert head.manifest is None
    assert module_folder(tmp_path / "data") == []


def test_a_module_without_a_hook_is_never_copied_live(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """It is refused while it runs; hibernated, its data goes home as it lies here, and it stays asleep and dirty."""
    hub = make_hub(lease=SOON, hibernated_lease=SOON)
    put(hub.provision("m"), "k", "v")
    with pytest.raises(InvalidState, match=r"'tiny'.*no hook") as refused:
        hub.checkpoint("m")
    assert "hibernate" in refused.value.hint
    assert events.all("operation.failed") == []
    hub.hibernate("m")
    asleep = hub.checkpoint("m")
    assert (asleep.state, asleep.dirty, asleep.pid) == (State.HIBERNATED, True, None)
    assert get(hub.wake("m"), "k") == "v"
    put(hub.module("m"), "k", "v2")
    hub.close()
    lose(tmp_path / "data")
    assert get(make_hub(data="other").provision("m"), "k") == "v"


def test_a_wake_ends_the_checkpoint_of_a_sleeper(
    make_hub: MakeHub, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It does not wait for the backend; what is written then is not mixed into what was on its way."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    hub.hibernate("m")
    block = Block()
    faults.on("put", block)
    asked = pool.submit(hub.checkpoint, "m")
    assert block.began.wait(10)
    try:
        info = hub.wake("m", timeout=10)
        put(info, "k", "v2")
        put(info, "l", "v2")
    finally:
        faults.clear()
        block.go_on.set()
    with pytest.raises(OperationCancelled):
        asked.result(timeout=20)
    head = head_of(tmp_path / "backend")
    assert head is not None
    assert head.manifest is None
    hub.deprovision("m")
    assert get(hub.provision("m"), "l") == "v2"


def test_where_there_is_nothing_to_copy_it_is_refused(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, events: Observer
) -> None:
    """Unknown, crashed, or with a backend out of reach: a typed refusal before anything happens."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)], restart_delay=60.0, restart_delay_max=60.0, breaker_delay=60.0)
    with pytest.raises(ModuleNotFound, match="checkpoint"):
        hub.checkpoint("m")
    info = hub.provision("m")
    put(info, "k", "v")
    faults.go_down()
    for _ in range(3):
        with pytest.raises(BackendError):
            hub.checkpoint("m")
    with pytest.raises(BackendError) as refused:
        hub.checkpoint("m")
    assert refused.value.retry_after_s is not None
    assert module_folder(tmp_path / "data") == []
    for count in (1, 2):  # the first recovery follows at once, the second waits
        events.wait("module.transition", to_state="provisioned", count=count)
        info = hub.module("m")
        assert info.pid is not None
        os.kill(info.pid, 9)
    events.wait("module.transition", to_state="crashed", count=2)
    with pytest.raises(InvalidState, match="crashed"):
        hub.checkpoint("m")


def test_a_checkpoint_of_suspect_data_keeps_what_was_there(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The crash may lie in the data: the last clean commit stays beside the copy, checkpoint after checkpoint."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)], restart_limit=0, retry_delay=60.0, retry_delay_max=60.0)
    put(hub.provision("m"), "k", "clean")
    hub.deprovision("m")
    clean = head_of(tmp_path / "backend")
    info = hub.provision("m")
    put(info, "k", "suspect")
    faults.on("put", OSError("no"))
    assert info.pid is not None
    os.kill(info.pid, 9)
    wait_for(lambda: hub.module("m").state is State.UNPROVISIONED)
    faults.clear()
    info = hub.provision("m")
    for value in ("one", "two"):
        put(info, "k", value)
        hub.checkpoint("m")
        head = head_of(tmp_path / "backend")
        assert clean is not None
        assert head is not None
        assert head.previous == clean.manifest


def test_a_defect_in_a_checkpoint_is_its_own(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, events: Observer
) -> None:
    """Its caller is told, nobody waits for what has no end, and the next one works."""
    hub = make_hub(kinds=[tiny_kind(checkpoint=COPY)])
    put(hub.provision("m"), "k", "v")

    def broken(self: Layout, module_id: str) -> None:
        raise ValueError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(Layout, "remove_checkpoint", broken)
        with pytest.raises(ModuleFault, match="a defect"):
            hub.checkpoint("m")
    assert events.wait("hub.actor_failed")["actor"].startswith("checkpoint/m#")
    assert hub.checkpoint("m").state is State.PROVISIONED
    assert hub.hibernate("m").state is State.HIBERNATED


def test_many_modules_share_the_room(make_hub: MakeHub, gated: Gated, pool: ThreadPoolExecutor) -> None:
    """Half of `max_transfers` are in a checkpoint at one time; who waits can still be ended."""
    hub = make_hub(kinds=[gated.kind], max_transfers=4)
    for name in "abc":
        put(hub.provision(name), "k", "v")
    asked = {name: hub.registry.ask(Checkpoint(name), block=False) for name in "ab"}
    gated.wait_begun(2)
    last = Checkpoint("c")
    waiting = hub.registry.ask(last, block=False)
    wait_for(lambda: known(hub, last.op_id) == "waiting")
    hub.hibernate("c")
    with pytest.raises(OperationCancelled):
        waiting.get(timeout=20)
    for _ in asked:
        gated.let_go()
    for answer in asked.values():
        answer.get(timeout=20)
    assert len(gated.pids()) == 2


def known(hub: Hub, op_id: str) -> str:
    try:
        return hub.operation(op_id).step
    except LookupError:
        return ""
