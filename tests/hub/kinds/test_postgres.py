"""The kind `postgres` with real servers, through everything that may happen to a module."""

from __future__ import annotations

import os
import pwd
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub import Hub, ModuleInfo, ProvisionFailed, State, WakeFailed
from hub.instance import procfs
from hub.kinds import POSTGRES
from tests.hub.conftest import MakeHub
from tests.hub.instance.support import gone
from tests.hub.leaving import nothing_left
from tests.hub.observer import Observer
from tests.hub.psql import PsqlFailed, family, keep_busy, psql, worker

__all__ = ["nothing_left"]
pytestmark = pytest.mark.e2e

ROOT = os.geteuid() == 0
# Whom it runs as here, which the preset leaves to the hub where that is not root.
USER = "postgres" if ROOT else pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def tmp_path(open_path: Path) -> Path:
    """Where the server's user gets through to."""
    return open_path


# Most tests make a cluster that no power failure will ever meet: without its fsyncs that takes a third of the time.
QUICK = replace(POSTGRES, init=[*(POSTGRES.init or ()), "--no-sync"])


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub(kinds=[QUICK], default_kind="postgres")


@pytest.fixture
def busy() -> Iterator[Callable[[ModuleInfo], int]]:
    """Makes a server work for long; returns the process of it that does, which listens to nobody meanwhile."""
    clients: list[subprocess.Popen[bytes]] = []

    def work(info: ModuleInfo) -> int:
        clients.append(keep_busy(info))
        return worker(info)

    yield work
    for client in clients:
        client.kill()
        client.wait()


def test_a_module_goes_through_its_whole_life(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """What was committed survives hibernation, kill -9 and the way home and back; obliteration leaves nothing."""
    hub = make_hub()
    info = hub.provision("t-1", kind="postgres")
    psql(info, "CREATE TABLE kept (value text); INSERT INTO kept VALUES ('first')")

    hub.hibernate("t-1")
    awake = hub.wake("t-1")
    assert awake.port == info.port
    psql(awake, "INSERT INTO kept VALUES ('second')")

    assert awake.pid is not None
    os.kill(awake.pid, signal.SIGKILL)
    events.wait("module.transition", module_id="t-1", from_state="recovering", to_state="provisioned")
    psql(hub.module("t-1"), "INSERT INTO kept VALUES ('third')")

    hub.deprovision("t-1")
    assert [*(tmp_path / "data" / "modules").iterdir()] == []
    back = hub.provision("t-1")
    assert back.kind == "postgres"
    assert psql(back, "SELECT value FROM kept") == "first\nsecond\nthird"
    assert psql(back, "SELECT sum(checksum_failures) FROM pg_stat_database").strip() in {"", "0"}

    report = hub.obliterate("t-1")
    assert (report.remaining, report.blobs > 0) == (0, True)
    assert not [path for folder in ("data", "backend") for path in (tmp_path / folder).rglob("*t-1*")]


def test_a_killed_server_leaves_nothing_that_works_on_its_data(
    hub: Hub, events: Observer, busy: Callable[[ModuleInfo], int]
) -> None:
    """Its processes lead sessions of their own, without the hub's marker; a busy one outlives it, until it is swept."""
    info = hub.provision("m")
    psql(info, "CREATE TABLE kept (value text); INSERT INTO kept VALUES ('first')")
    worker = busy(info)
    stat = procfs.read_stat(worker)
    assert stat is not None
    assert (stat.group, stat.session) == (worker, worker)
    before = family(info)
    assert info.pid is not None
    os.kill(info.pid, signal.SIGKILL)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    again = hub.module("m")
    assert not before & family(again)
    assert psql(again, "SELECT value FROM kept") == "first"


HOST = """
import sys
from hub import Hub
from tests.hub.psql import keep_busy, psql, worker
info = Hub(sys.argv[1], sys.argv[2]).start().provision("m", kind="postgres")
psql(info, "CREATE TABLE kept (value text); INSERT INTO kept VALUES ('first')")
client = keep_busy(info)
print(worker(info), flush=True)
sys.stdin.read()
"""


def test_a_killed_hub_leaves_nothing_either(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """The next hub finds the processes that outlived the server, by its log, before it starts another on the data."""
    command = [sys.executable, "-c", HOST, str(tmp_path / "data"), f"file://{tmp_path}/backend"]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[3], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        outlived = int(host.stdout.readline())
        host.kill()
    stat = procfs.read_stat(outlived)
    assert stat is not None
    assert stat.state != "Z"
    hub = make_hub()
    assert events.all("hub.orphan_killed", pid=outlived)
    events.wait("module.transition", module_id="m", from_state="recovering", to_state="provisioned")
    assert psql(hub.module("m"), "SELECT value FROM kept") == "first"


def test_a_stop_does_not_wait_for_clients(hub: Hub, busy: Callable[[ModuleInfo], int]) -> None:
    """Whoever is connected is disconnected: a tenant's open session keeps no module from hibernating."""
    info = hub.provision("m")
    busy(info)
    assert hub.hibernate("m").state is State.HIBERNATED
    assert family(info) == set()


def test_killing_leaves_no_shared_memory(hub: Hub) -> None:
    """Each obliteration would else take one of the machine's few segments for good, and files in /dev/shm."""
    info = hub.provision("m")
    own = [line for line in Path("/proc/sysvipc/shm").read_text().splitlines() if line.split()[4] == str(info.pid)]
    assert len(own) == 1
    assert psql(info, "SHOW dynamic_shared_memory_type") == "mmap"
    hub.obliterate("m")
    assert own[0].split()[1] not in [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()]


def segments_of(pid: int) -> list[str]:
    """Ids of the shared memory segments that a process made."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    return [row[1] for row in rows if row[4] == str(pid)]


@pytest.mark.usefixtures("nothing_left")
def test_a_server_that_was_left_running_is_adopted_with_its_whole_family(
    make_hub: MakeHub, events: Observer, busy: Callable[[ModuleInfo], int]
) -> None:
    """Its processes lead sessions of their own and have lost their marker: none is taken for a stray. When it is killed
    they end with it, and its shared memory goes."""
    leaving = make_hub(kinds=[QUICK], default_kind="postgres", on_exit="leave")
    info = leaving.provision("m")
    assert info.pid is not None
    psql(info, "CREATE TABLE kept (value text); INSERT INTO kept VALUES ('first')")
    working = busy(info)
    leaving.close()
    hub = make_hub(kinds=[QUICK], default_kind="postgres")
    found = hub.module("m")
    assert (found.pid, found.port) == (info.pid, info.port)
    assert events.all("hub.orphan_killed") == []
    assert procfs.read_stat(working) is not None
    assert psql(found, "SELECT value FROM kept") == "first"
    assert len(segments_of(info.pid)) == 1
    hub.obliterate("m")
    assert gone(working)
    assert segments_of(info.pid) == []


def test_nobody_gets_in_without_the_password(hub: Hub) -> None:
    """Loopback is open to all users of the machine; the password lies with the data, for its owner alone."""
    info = hub.provision("m")
    assert info.data_dir is not None
    with pytest.raises(PsqlFailed, match="no password supplied"):
        psql(info, "SELECT 1", password=False)
    secret = info.data_dir / "pgpass"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    password = secret.read_text().strip().rpartition(":")[2]
    assert len(password) == 48
    assert password not in (info.data_dir.parents[2] / "logs" / "m").read_text()
    assert password not in (hub.provision("other").data_dir or Path()).joinpath("pgpass").read_text()


def test_it_listens_on_loopback_alone(hub: Hub) -> None:
    """One address, and no socket in the file system, whatever a tenant sets."""
    info = hub.provision("m")
    psql(info, "ALTER SYSTEM SET listen_addresses = '*'")
    psql(info, "ALTER SYSTEM SET fsync = off")
    psql(info, "ALTER SYSTEM SET log_min_messages = panic")
    hub.hibernate("m")
    again = hub.wake("m")
    assert (
        psql(
            again,
            "SELECT string_agg(setting, ',' ORDER BY name) FROM pg_settings WHERE name IN "
            "('fsync', 'listen_addresses', 'unix_socket_directories')",
        )
        == "on,127.0.0.1,"
    )


@pytest.mark.skipif(not ROOT, reason="a hub that is not root runs it as itself")
def test_as_root_it_runs_as_its_user_also_after_hydration(hub: Hub, tmp_path: Path) -> None:
    """Process and data are the user's, on data that was just made and on data that came from the backend."""
    first = hub.provision("m")
    assert Path(f"/proc/{first.pid}").owner() == USER
    hub.deprovision("m")
    again = hub.provision("m")
    assert again.data_dir is not None
    assert Path(f"/proc/{again.pid}").owner() == USER
    assert {path.owner() for path in (again.data_dir, *again.data_dir.rglob("*"))} == {USER}
    assert stat.S_IMODE(again.data_dir.stat().st_mode) == 0o700
    for folder in again.data_dir.parents[:3]:
        assert folder.owner() == "root"
        assert stat.S_IMODE(folder.stat().st_mode) & 0o066 == 0
    assert (tmp_path / "data" / "journal.sqlite3").stat().st_mode & 0o077 == 0


def test_a_lock_file_that_names_somebody_else_is_no_obstacle(hub: Hub) -> None:
    """The process id in a killed server's lock file may belong to anybody by now, also to the same user."""
    info = hub.provision("m")
    assert info.data_dir is not None
    lock = info.data_dir / "postmaster.pid"
    _, _, rest = lock.read_text().partition("\n")
    hub.hibernate("m")
    user = ["setpriv", f"--reuid={USER}", "--clear-groups", "--"] if ROOT else []
    with subprocess.Popen([*user, "sleep", "300"]) as stranger:
        for text in (f"{stranger.pid}\n{rest}", "", "garbage"):
            lock.write_text(text)
            if ROOT:
                os.chown(lock, pwd.getpwnam(USER).pw_uid, -1)
            assert psql(hub.wake("m"), "SELECT 1") == "1"
            hub.hibernate("m")
        assert stranger.poll() is None
        stranger.kill()


def test_data_of_another_version_is_refused_with_what_to_do(hub: Hub) -> None:
    """The server of the data's version is the one that is started; where there is none the error names it."""
    info = hub.provision("m")
    assert info.data_dir is not None
    version = info.data_dir / "PG_VERSION"
    actual = version.read_text()
    hub.hibernate("m")
    version.write_text("9\n")
    with pytest.raises(
        WakeFailed, match=r"the data is of PostgreSQL 9, which is not installed here \(found: .*1\d"
    ) as failed:
        hub.wake("m")
    assert "pg_upgrade" in str(failed.value)
    version.write_text(actual)
    assert psql(hub.wake("m"), "SELECT 1") == "1"


def test_what_is_appended_goes_to_the_server(make_hub: MakeHub) -> None:
    """The preset is adapted by options at its end, for the server and for initdb."""
    adapted = replace(
        POSTGRES,
        command=[*POSTGRES.command, "-c", "max_connections=7"],
        init=[*(POSTGRES.init or ()), "--wal-segsize=4", "--auth=trust"],
    )
    info = make_hub(kinds=[adapted], default_kind="postgres").provision("m", kind="postgres")
    assert psql(info, "SHOW max_connections", password=False) == "7"
    assert psql(info, "SHOW wal_segment_size") == "4MB"


@pytest.mark.skipif(not ROOT, reason="a hub that is not root needs no such user")
def test_without_its_user_it_says_how_to_make_it(make_hub: MakeHub) -> None:
    """The server refuses to run as root; the error is about that, before anything is started."""
    hub = make_hub(kinds=[replace(POSTGRES, user="no-such-user")], default_kind="postgres")
    with pytest.raises(ProvisionFailed, match="adduser --system --group no-such-user"):
        hub.provision("m", kind="postgres")
    assert hub.modules() == ()


@pytest.mark.skipif(not ROOT, reason="a hub that is not root runs it as itself")
def test_a_closed_directory_above_the_hubs_is_left_closed_and_no_obstacle(make_hub: MakeHub, tmp_path: Path) -> None:
    """Its user gets the data open where it can't get to it by its path: at the first start and every later one."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    hub = make_hub(data="closed/data", kinds=[QUICK], default_kind="postgres")
    info = hub.provision("m", kind="postgres")
    psql(info, "CREATE TABLE t (x int)")
    psql(info, "INSERT INTO t SELECT generate_series(1, 100)")
    hub.hibernate("m")
    assert psql(hub.wake("m"), "SELECT count(*) FROM t") == "100"
    hub.deprovision("m")
    assert psql(hub.provision("m"), "SELECT count(*) FROM t") == "100"
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not ROOT, reason="a hub that is not root runs it as itself")
def test_a_program_that_can_only_go_by_the_path_is_told_what_keeps_it_out(make_hub: MakeHub, tmp_path: Path) -> None:
    """A closed directory above the hub's is somebody else's to open; the error says which."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    forgetful = replace(POSTGRES, init=["/bin/sh", "-c", "exec 9<&-; ls {data_dir}/."])
    hub = make_hub(data="closed/data", kinds=[forgetful], default_kind="postgres")
    with pytest.raises(ProvisionFailed, match="chmod o\\+x"):
        hub.provision("m", kind="postgres")
    hub.close()
