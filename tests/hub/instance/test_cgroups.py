"""Cgroups of instances: real ones where this machine lets us, and what is told where it does not."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.errors import StartFailed
from hub.instance import InstanceSpec, Kind, cgroups, procfs
from hub.instance.cgroup_places import Place, find_places
from hub.instance.cgroups import Cgroup, Cgroups, settings
from hub.instance.limits import CONTROLLERS, Limits, parse_limits
from tests.hub.instance.bench import PYTHON, SERVER, Bench, Run, script, server
from tests.hub.instance.support import gone

PLACES = find_places(turn_on=False)
NO_CGROUPS = "the kernel lets nobody make such cgroups here"


def needs(controller: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(controller not in PLACES, reason=NO_CGROUPS)


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    left = [path for place in PLACES.values() for path in place.directory.glob("modhub-test-hub-*")]
    assert left == []


def told(pid: int, file: str) -> list[str]:
    return Path(f"/proc/{pid}/{file}").read_text().splitlines()


def greedy(mebibytes: int) -> list[str]:
    """A program that uses memory and then tells so."""
    return [*PYTHON, f"x = b'x' * ({mebibytes} << 20); print('used', flush=True); import time; time.sleep(60)"]


@needs("memory")
def test_a_start_that_takes_too_much_memory_says_so(run: Run) -> None:
    """The kernel kills it, and the error gives that as the reason."""

    async def scenario(bench: Bench) -> None:
        with pytest.raises(StartFailed, match="ended with SIGKILL: out of memory before it was ready"):
            await bench.start(script('exec "$@"', *greedy(256), limits={"memory": "64M"}))

    run(scenario)


HUNGRY = """
import signal, socket, sys
def eat(*_):
    global eaten
    eaten = b"x" * (256 << 20)
signal.signal(signal.SIGUSR1, eat)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("serving", flush=True)
while True:
    listener.accept()[0].close()
"""


@needs("memory")
@pytest.mark.parametrize("hungry", [True, False])
def test_a_kill_for_want_of_memory_is_told_from_others(run: Run, hungry: bool) -> None:
    """Somebody's kill -9 is no want of memory."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(limits={"memory": "64M"}, text=HUNGRY))
        os.kill(instance.pid, signal.SIGUSR1 if hungry else signal.SIGKILL)
        await bench.exited.wait()
        assert instance.exit_status == -signal.SIGKILL
        assert instance.exit_reason == ("out of memory" if hungry else "process exited")
        assert instance.describe_exit() == ("SIGKILL: out of memory" if hungry else "SIGKILL")
        await instance.kill()

    run(scenario)


def eat_within(cgroup: Cgroup) -> None:
    """Let a process end in a cgroup for want of memory."""
    with subprocess.Popen([*PYTHON, "input(); x = b'x' * (256 << 20)"], stdin=subprocess.PIPE) as hungry:
        for directory in cgroup.directories:
            (directory / "cgroup.procs").write_text(str(hungry.pid))
        hungry.communicate(b"\n")
    assert hungry.returncode == -signal.SIGKILL


def nobody_is_told(_pidfd: int) -> None:
    """How a process ended that is no child."""


def reap(pid: int) -> None:
    os.waitpid(pid, 0)


@needs("memory")
@pytest.mark.parametrize("before", [True, False])
def test_an_adopted_process_that_ends_for_want_of_memory_is_told_as_such(run: Run, before: bool) -> None:
    """Its exit status is not known, but what its cgroup has counted since is; what was before is another matter."""

    async def scenario(bench: Bench) -> None:
        earlier = await bench.start(server(limits={"memory": "64M"}, text=HUNGRY))
        spec = InstanceSpec(
            "tenant-42", server(limits={"memory": "64M"}), bench.data_dir, bench.folder / "log", 1, earlier.port
        )
        identity = procfs.ProcessIdentity(earlier.pid, earlier.started_ticks, earlier.boot_id)
        earlier.leave()
        bench.ports.release(earlier.port)
        if before:
            eat_within(Cgroups("test-hub").adopt(earlier.pid))
        instance = await bench.runner.adopt(spec, identity, bench.on_exit, timeout_s=5.0)
        assert instance is not None
        # As if it were nobody's child.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hub.instance.adopted._reap", nobody_is_told)
            os.kill(identity.pid, signal.SIGKILL if before else signal.SIGUSR1)
            await bench.exited.wait()
        reap(identity.pid)
        assert instance.exit_status is None
        assert instance.exit_reason == ("process exited" if before else "out of memory")
        await instance.kill()

    run(scenario)


@pytest.mark.skipif(PLACES.keys() != set(CONTROLLERS), reason=NO_CGROUPS)
def test_a_process_runs_within_all_its_limits(run: Run) -> None:
    """The server is in the cgroups that were made for it, whose limits are the kind's; all go with it."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(limits={"memory": "64M", "cpu": 0.5, "pids": 20}))
        assert instance.unenforced == frozenset()
        name = "modhub-test-hub-tenant-42-7"
        joined = told(instance.pid, "cgroup")
        directories = {c: p.directory / name for c, p in PLACES.items()}
        assert sum(line.endswith("/" + name) for line in joined) == len(set(directories.values()))
        assert (directories["pids"] / "pids.max").read_text() == "20\n"
        memory, cpu = PLACES["memory"], PLACES["cpu"]
        limit = "memory.max" if memory.unified else "memory.limit_in_bytes"
        assert (directories["memory"] / limit).read_text() == f"{64 << 20}\n"
        quota = "cpu.max" if cpu.unified else "cpu.cfs_quota_us"
        assert (directories["cpu"] / quota).read_text().split()[0] == "50000"
        await instance.stop(force=False)
        assert not any(path.exists() for path in directories.values())

    run(scenario)


@needs("pids")
def test_no_more_processes_than_allowed(run: Run) -> None:
    """A fork beyond the limit fails; the module's neighbours do not notice."""

    async def scenario(bench: Bench) -> None:
        forks = script("for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait", limits={"pids": 5}, start_timeout=5)
        with pytest.raises(StartFailed) as failed:
            await bench.start(forks)
        assert "fork" in failed.value.output

    run(scenario)


DAEMON = """
import os, subprocess, sys
null = open("/dev/null", "w")
daemon = subprocess.Popen(["sleep", "300"], env={}, start_new_session=True, stdout=null, stderr=null)
open("daemon", "w").write(str(daemon.pid))
"""


@needs("pids")
def test_nothing_leaves_its_cgroup(run: Run, tmp_path: Path) -> None:
    """A daemon in a session of its own, without marker and with its output elsewhere, ends with its server."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(limits={"pids": 50}, text=DAEMON + SERVER))
        daemon = int((tmp_path / "daemon").read_text())
        assert procfs.read_stat(daemon) is not None
        await instance.stop(force=False)
        assert gone(daemon)

    run(scenario)


@needs("pids")
def test_a_start_that_comes_to_nothing_leaves_none(run: Run) -> None:
    """Neither a missing program nor a cancellation, whenever it comes, leaves a cgroup."""

    async def scenario(bench: Bench) -> None:
        with pytest.raises(StartFailed, match="no-such-program"):
            await bench.start(Kind("missing", ["no-such-program"], limits={"pids": 9}))
        for turns in range(12):
            starting = asyncio.ensure_future(bench.start(server(limits={"pids": 50})))
            for _ in range(turns):
                await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting

    run(scenario)


@needs("pids")
def test_what_a_killed_hub_left_is_ended() -> None:
    """Cgroups of the same hub go when it first makes one, and who is still in them; those of others stay."""
    directory = PLACES["pids"].directory
    old, others = directory / "modhub-test-hub-old-1", directory / "modhub-other-hub-old-1"
    for path in (old, others):
        path.mkdir()
    with subprocess.Popen(["sleep", "300"]) as mine, subprocess.Popen(["sleep", "300"]) as theirs:
        (old / "cgroup.procs").write_text(str(mine.pid))
        (others / "cgroup.procs").write_text(str(theirs.pid))
        made = Cgroups("test-hub").make("new-1", Limits(pids=5))
        assert not old.exists()
        assert mine.wait(30) == -signal.SIGKILL
        assert theirs.poll() is None
        made.end()
        Cgroup((others,), frozenset()).end()
        assert theirs.wait(30) == -signal.SIGKILL


def test_where_nothing_can_be_had_it_runs_all_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that gives no cgroups runs the server; what is not enforced is told."""
    monkeypatch.setattr(cgroups, "find_places", lambda **_: {})  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] # a machine without any

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(limits={"memory": "64M", "pids": 9, "nofile": 99}))
        assert instance.unenforced == {"memory", "pids"}
        limits = told(instance.pid, "limits")
        assert [line.split()[3] for line in limits if line.startswith("Max open files")] == ["99"]
        await instance.kill()

    run(scenario)


def test_a_place_that_refuses_is_not_enforced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is no cgroup takes no limits, and is removed again."""
    places = {"memory": Place(tmp_path, unified=True)}
    monkeypatch.setattr(cgroups, "find_places", lambda **_: places)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] # a place that looks like one
    made = Cgroups("test-hub").make("m-1", Limits(memory=1 << 20, pids=3))
    assert made == Cgroup((), frozenset())
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("unified", "expected"),
    [
        (True, {"memory.max": "1048576", "?memory.swap.max": "0", "cpu.max": "150000 100000", "pids.max": "7"}),
        (
            False,
            {
                "memory.limit_in_bytes": "1048576",
                "?memory.memsw.limit_in_bytes": "1048576",
                "cpu.cfs_period_us": "100000",
                "cpu.cfs_quota_us": "150000",
                "pids.max": "7",
            },
        ),
    ],
)
def test_limits_are_said_in_each_versions_words(unified: bool, expected: dict[str, str]) -> None:
    """Both versions get the same limits, swap included."""
    limits = parse_limits({"memory": "1M", "cpu": 1.5, "pids": 7})
    said = [setting for controller in CONTROLLERS for setting in settings(controller, limits, unified=unified)]
    assert dict(said) == expected


@pytest.mark.parametrize(
    ("limits", "text", "status", "reason"),
    [
        ({"cpu_s": 1}, "while :; do :; done", -signal.SIGXCPU, "out of CPU time"),
        ({"fsize": 4096}, "exec cat /dev/zero > file", -signal.SIGXFSZ, "file too large"),
        ({}, "kill -XCPU $$", -signal.SIGXCPU, "process exited"),
    ],
)
def test_an_end_by_a_limit_of_one_process_is_told(
    run: Run, limits: dict[str, int], text: str, status: int, reason: str
) -> None:
    """The kernel's signal says which limit it was, where the kind has that limit."""

    async def scenario(bench: Bench) -> None:
        with pytest.raises(StartFailed):
            await bench.start(script(text, limits=limits))
        (instance,) = bench.exits
        assert (instance.exit_status, instance.exit_reason) == (status, reason)

    run(scenario)


def test_a_limit_that_the_hub_may_not_give_fails_the_start(run: Run) -> None:
    """A hard limit above the hub's own is refused by the kernel; the start says so."""
    if subprocess.run(["prlimit", "--nofile=1000000000", "true"], check=False, capture_output=True).returncode == 0:
        pytest.skip("this user may raise any limit")

    async def scenario(bench: Bench) -> None:
        with pytest.raises(StartFailed) as failed:
            await bench.start(server(limits={"nofile": 1_000_000_000}))
        assert "NOFILE" in failed.value.output

    run(scenario)
