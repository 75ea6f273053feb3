"""What can't work fails with a typed error that says why, and leaves nothing of its own behind."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends import BackendFull, Head, LeaseObserver
from hub import (
    BackendError,
    DataConflict,
    DataDirInUse,
    Hub,
    InvalidConfig,
    Kind,
    LocalDataError,
    ModhubError,
    ModuleNotFound,
    PortsExhausted,
    ProvisionFailed,
    State,
    WakeFailed,
)
from hub.http.problem import problem_of
from tests.hub.conftest import TINY_SERVER, MakeHub, tiny_kind
from tests.hub.faulty import Faults, faulty_backend
from tests.hub.marked import processes_of
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e


def snapshot(path: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(path)): p.read_bytes() if p.is_file() else None for p in sorted(path.rglob("*"))}


BAD_COMMANDS: dict[str, tuple[Kind, str]] = {
    "does not exist": (Kind("bad", ["/no/such/program"]), "not found"),
    "ends at once": (tiny_kind("bad", "--broken"), "exit code 3"),
    "never becomes ready": (tiny_kind("bad", "--deaf", start_timeout=0.5), "not ready"),
    "ready pattern never comes": (tiny_kind("bad", ready="log:never said", start_timeout=0.5), "not ready"),
    "is killed": (Kind("bad", ["sh", "-c", "kill -9 $$"]), "SIGKILL"),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_a_bad_command_fails_its_provision_and_leaves_nothing(make_hub: MakeHub, tmp_path: Path, case: str) -> None:
    """The error tells why; no process, no port, no local data and nothing in the backend is left."""
    kind, why = BAD_COMMANDS[case]
    port = free_port()
    hub = make_hub(kinds=[kind, tiny_kind()], default_kind="bad", ports=(port, port))
    with pytest.raises(ProvisionFailed, match=why):
        hub.provision("m")
    with pytest.raises(ModuleNotFound):
        hub.module("m")
    assert processes_of(tmp_path / "data") == []
    assert [p for p in (tmp_path / "data").rglob("*") if p.name == "m"] == []
    assert not list((tmp_path / "backend").glob("*"))
    # Its port, the only one there is, is free again.
    assert hub.provision("other", kind="tiny").port == port


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_error_of_a_failed_start_ends_with_the_processs_last_words(make_hub: MakeHub) -> None:
    """What the process printed before it died stands in the error."""
    hub = make_hub(kinds=[tiny_kind(), tiny_kind("bad", "--broken")])
    with pytest.raises(ProvisionFailed, match="cannot go on: it is broken") as caught:
        hub.provision("m", kind="bad")
    assert caught.value.output == "cannot go on: it is broken"


def test_an_answer_on_the_port_by_somebody_else_is_not_readiness(make_hub: MakeHub) -> None:
    """A command that can't have its fixed port, which another process answers on, is not taken for ready."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        fixed = Kind("fixed", [sys.executable, "-S", "-E", str(TINY_SERVER), taken, "{data_dir}"], start_timeout=5)
        hub = make_hub(kinds=[tiny_kind(), fixed])
        with pytest.raises(ProvisionFailed, match="Address already in use"):
            hub.provision("m", kind="fixed")


def test_a_range_without_a_free_port_is_named(make_hub: MakeHub) -> None:
    """When every port of the range is taken, the error names the range, and says by its class that waiting may help."""
    port = free_port()
    hub = make_hub(ports=(port, port))
    hub.provision("m")
    with pytest.raises(ProvisionFailed, match=f"provision of module 'other'.*{port}-{port}") as caught:
        hub.provision("other")
    assert isinstance(caught.value, PortsExhausted)
    assert (caught.value.code, problem_of(caught.value)["status"]) == ("ports-exhausted", 503)


def test_a_failed_wake_keeps_the_module_asleep_with_its_data(make_hub: MakeHub) -> None:
    """Where the process does not come up on the kept data, nothing of that is deleted."""
    hub = make_hub(kinds=[tiny_kind("tiny", "--broken-once-used")])
    info = hub.provision("m")
    put(info, "used", "v")
    hub.hibernate("m")
    with pytest.raises(WakeFailed, match="exit code 4"):
        hub.wake("m")
    asleep = hub.module("m")
    assert (asleep.state, asleep.dirty) == (State.HIBERNATED, True)
    assert asleep.data_dir is not None
    assert (asleep.data_dir / "used").read_text() == "v"


def test_a_data_directory_that_somebody_deleted_is_named(make_hub: MakeHub) -> None:
    """Without its data a module is not started as if it were new; it stays hibernated, and the error says why."""
    hub = make_hub()
    hub.provision("m")
    asleep = hub.hibernate("m")
    assert asleep.data_dir is not None
    shutil.rmtree(asleep.data_dir)
    with pytest.raises(WakeFailed, match="not there any more"):
        hub.wake("m")
    assert hub.module("m").state == State.HIBERNATED
    assert hub.obliterate("m").remaining == 0


def test_data_that_the_journal_does_not_know_is_not_touched(make_hub: MakeHub, tmp_path: Path) -> None:
    """After the loss of the journal, a provision refuses to go on beside the old data, and deletes nothing of it."""
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    hub.close()
    for path in (tmp_path / "data").glob("journal*"):
        path.unlink()
    again = make_hub()
    before = snapshot(tmp_path / "data" / "modules")
    with pytest.raises(LocalDataError, match="journal"):
        again.provision("m")
    assert snapshot(tmp_path / "data" / "modules") == before
    assert before["m/data/k"] == b"v"
    assert again.modules() == ()


BAD_PARAMETERS: dict[str, dict[str, Any]] = {
    "ports": {"ports": (70000, 80000)},
    "backend": {"backend": "ftp://host/path"},
    "nonsense": {"nonsense": 1},
    "on_exit": {"on_exit": "explode"},
    "idle_timeout": {"idle_timeout": "soon"},
    "max_starts": {"max_starts": 0},
    "default_kind": {"default_kind": "nonesuch"},
}


@pytest.mark.parametrize("key", BAD_PARAMETERS)
def test_a_bad_parameter_is_named_before_anything_happens(tmp_path: Path, key: str) -> None:
    """The error names the key; not even the data directory is made."""
    parameters: dict[str, Any] = {
        "data_dir": tmp_path / "data",
        "backend": f"file://{tmp_path}/backend",
    } | BAD_PARAMETERS[key]
    with pytest.raises(InvalidConfig, match=key):
        Hub(**parameters)
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where the directory should be: a typed error, and nothing was started."""
    (tmp_path / "data").write_text("")
    with pytest.raises(InvalidConfig, match="data_dir"):
        Hub(tmp_path / "data", f"file://{tmp_path}/backend").start()


def test_a_second_hub_on_the_same_directory_is_refused(make_hub: MakeHub, tmp_path: Path) -> None:
    """The refusal names the process that has it, and does not disturb it."""
    hub = make_hub()
    info = hub.provision("m")
    program = f"from hub import Hub; Hub({str(tmp_path / 'data')!r}, 'file://{tmp_path}/backend').start()"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "DataDirInUse" in other.stderr
    with pytest.raises(DataDirInUse, match=r"pid \d+"):
        Hub(tmp_path / "data", f"file://{tmp_path}/backend").start()
    assert get(info, "k") is None


def broken_head(backend: Path) -> None:
    (backend / "m" / "head").write_bytes(b"\x00not json")


def broken_manifest(backend: Path) -> None:
    manifest = json.loads((backend / "m" / "head").read_bytes())["manifest"]
    (backend / "m" / "blobs" / manifest).write_bytes(b'{"files": "../../etc/passwd"}')


def missing_blobs(backend: Path) -> None:
    manifest = json.loads((backend / "m" / "head").read_bytes())["manifest"]
    for blob in (backend / "m" / "blobs").iterdir():
        if blob.name != manifest:
            blob.unlink()


def committed(backend: Path) -> dict[str, Any]:
    """All that a backend holds, but for whose the module is, which a provision that fails takes and gives back."""
    found: dict[str, Any] = dict(snapshot(backend))
    with contextlib.suppress(ValueError):
        head = json.loads(found["m/head"])
        found["m/head"] = {key: head[key] for key in ("owner", "kind", "manifest", "previous", "tombstone", "lease_ms")}
    return found


@pytest.mark.parametrize("damage", [broken_head, broken_manifest, missing_blobs])
def test_damage_in_the_backend_changes_nothing_on_either_side(
    make_hub: MakeHub, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """A corrupt head, manifest or blob fails the provision with a `BackendError`; both sides stay as they were."""
    hub = make_hub()
    put(hub.provision("m"), "k", "v")
    hub.deprovision("m")
    damage(tmp_path / "backend")
    before = committed(tmp_path / "backend")
    with pytest.raises(BackendError):
        hub.provision("m")
    assert committed(tmp_path / "backend") == before
    assert hub.modules() == ()
    assert not list((tmp_path / "data" / "modules").iterdir())


def test_a_backend_that_is_no_folder_is_an_error_and_the_data_stays_dirty(
    make_hub: MakeHub, tmp_path: Path, events: Observer
) -> None:
    """Data that can't be sent home stays here as dirty; others serve on; it goes home when the backend is back."""
    hub = make_hub(breaker_delay=0.05, breaker_delay_max=0.05, retry_delay=0.05)
    for name in ("m", "n"):
        put(hub.provision(name), "k", "v")
    (tmp_path / "backend").rename(tmp_path / "away")
    (tmp_path / "backend").write_text("a file")
    with pytest.raises(BackendError):
        hub.deprovision("m")
    info = hub.module("m")
    assert (info.state, info.dirty) == (State.CRASHED, True)
    with pytest.raises(BackendError):
        hub.provision("other")
    events.wait("backend.unavailable")
    with pytest.raises(BackendError):
        hub.deprovision("n")
    assert get(hub.module("n"), "k") == "v"
    (tmp_path / "backend").unlink()
    (tmp_path / "away").rename(tmp_path / "backend")
    events.wait("module.transition", module_id="m", to_state="unprovisioned")
    assert [get(hub.provision(name), "k") for name in ("m", "n")] == ["v", "v"]


@pytest.mark.parametrize("fault", [BackendFull("no space left"), OSError(5, "Input/output error")])
def test_a_full_backend_keeps_its_previous_commit_and_the_local_data(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """When puts fail, deprovision fails with a typed error; nothing here or there is lost, and a retry succeeds."""
    faults = faulty_backend(monkeypatch)
    hub = make_hub(retry_delay=60)
    put(hub.provision("m"), "k", "v1")
    hub.deprovision("m")
    put(hub.provision("m"), "k", "v2")
    faults.on("put", fault)
    with pytest.raises((BackendError, LocalDataError)):
        hub.deprovision("m")
    assert hub.module("m").dirty
    assert get(hub.provision("m"), "k") == "v2"
    faults.clear()
    hub.deprovision("m")
    assert get(hub.provision("m"), "k") == "v2"


def test_an_obliteration_whose_backend_is_down_stays_the_only_future(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, events: Observer
) -> None:
    """The caller gets `BackendError`; only obliterate is open to the module until the watchdog completes it."""
    faults: Faults = faulty_backend(monkeypatch)
    hub = make_hub(retry_delay=0.3)
    put(hub.provision("m"), "k", "v")
    faults.on("purge", BackendFull("down"))
    faults.on("list", BackendFull("down"))
    faults.on("delete_many", BackendFull("down"))
    with pytest.raises(BackendError):
        hub.obliterate("m")
    assert hub.module("m").state == State.CRASHED
    assert not (tmp_path / "data" / "modules" / "m").exists()
    for operation in (hub.provision, hub.hibernate, hub.wake):
        with pytest.raises(ModhubError, match="obliterat"):
            operation("m")
    with pytest.raises(BackendError):
        hub.deprovision("m")
    hub.close()
    faults.clear()
    again = make_hub()
    events.wait("module.obliterated", module_id="m")
    assert list((tmp_path / "backend").glob("*")) == []
    assert get(again.provision("m"), "k") is None


def run_out(self: LeaseObserver, key: str, head: Head) -> float:
    return 0.0


def test_data_that_another_hub_moved_on_is_a_conflict(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dirty data whose backend was changed by another hub is neither served nor sent; both sides are kept."""
    first = make_hub(data="first", retry_delay=60)
    second = make_hub(data="second", retry_delay=60)
    put(first.provision("m"), "k", "first")
    # As where the first was away for longer than its lease.
    monkeypatch.setattr(LeaseObserver, "remaining_s", run_out)
    put(second.provision("m"), "k", "second")
    second.deprovision("m")
    with pytest.raises(DataConflict):
        first.deprovision("m")
    kept = first.module("m")
    assert (kept.state, kept.dirty) == (State.CRASHED, True)
    assert kept.data_dir is not None
    assert (kept.data_dir / "k").read_text() == "first"
    with pytest.raises(DataConflict):
        first.provision("m")
    assert get(second.provision("m"), "k") == "second"
