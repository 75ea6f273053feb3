"""Processes of an earlier hub: taken over by their identity, watched like children, and no other is ever touched."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hub.instance import Kind, LocalRunner, Stopped, procfs
from hub.instance.adopted import AdoptedProcess, adopt_process
from hub.instance.leftovers import Spared, find_leaders, kill_marked
from hub.instance.process import MARKER
from hub.instance.procfs import ProcessIdentity
from hub.instance.protocol import Instance, InstanceSpec
from tests.hub.instance.bench import PYTHON, Bench, Run, server
from tests.hub.instance.support import PATIENCE_S, Signals, gone, shell

# Starts a script as the leader of a session of its own, and ends: the script is nobody's child here.
ORPHANAGE = 'setsid sh -c "$1" sh "$2" > /dev/null 2>&1 & echo $!'


def orphan(script: str, argument: str | Path = "") -> ProcessIdentity:
    """A process whose parent has ended."""
    done = subprocess.run(
        ["sh", "-c", ORPHANAGE, "sh", script, str(argument)], capture_output=True, text=True, check=True
    )
    return identity_of(int(done.stdout))


def identity_of(pid: int) -> ProcessIdentity:
    stat = procfs.read_stat(pid)
    assert stat is not None
    return ProcessIdentity(pid, stat.started_ticks, procfs.boot_id())


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def is_reaped(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def with_adopted(identity: ProcessIdentity, scenario: Callable[[AdoptedProcess, list[bool]], Awaitable[None]]) -> None:
    """Run a scenario with a process and what was told of its end; afterwards no descriptor of it may be left."""

    async def run() -> None:
        before = descriptors()
        told: list[bool] = []
        process = adopt_process(identity, lambda: told.append(True))
        assert process is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                await scenario(process, told)
        finally:
            process.leave()
        assert descriptors() == before

    asyncio.run(run())


def test_the_end_of_an_adopted_process_is_seen_at_once_and_its_group_ends_with_it(signals: Signals) -> None:
    """By pidfd, though it is no child; how it ended is not known; grandchildren in its group go, as a child's do."""
    identity = orphan('sleep 300 & echo $! > "$1"; exec sleep 300', signals.path)

    async def scenario(process: AdoptedProcess, told: list[bool]) -> None:
        grandchild = int(await signals.line())
        os.kill(process.pid, signal.SIGKILL)
        await process.exited.wait()
        assert told == [True]
        assert process.exit_status is None
        assert gone(grandchild)
        await process.kill()  # which is nothing any more
        process.send(signal.SIGTERM)

    with_adopted(identity, scenario)


@pytest.mark.parametrize(("signalled", "status"), [(False, 3), (True, -signal.SIGTERM)])
def test_a_child_of_this_process_is_reaped_and_its_exit_status_known(signalled: bool, status: int) -> None:
    """A host that embeds a hub again is the parent of what the first one left: no zombie may stay in it."""
    child = subprocess.Popen(["sh", "-c", "read _; exit 3"], stdin=subprocess.PIPE, start_new_session=True)
    assert child.stdin is not None
    child.returncode = 0  # as a hub that leaves it forgets it
    pipe = child.stdin

    async def scenario(process: AdoptedProcess, told: list[bool]) -> None:
        if signalled:
            process.send(signal.SIGTERM)
        else:
            pipe.write(b"\n")
            pipe.flush()
        await process.exited.wait()
        assert (told, process.exit_status) == ([True], status)
        assert is_reaped(process.pid)

    with pipe:
        with_adopted(identity_of(child.pid), scenario)


def test_killing_ends_the_whole_group(signals: Signals) -> None:
    """Those too that ignore the stop signal are gone when `kill` returns."""
    identity = orphan('trap "" TERM; sleep 300 & echo $! > "$1"; while :; do wait; done', signals.path)

    async def scenario(process: AdoptedProcess, told: list[bool]) -> None:
        grandchild = int(await signals.line())
        await process.kill()
        assert told == [True]
        assert gone(grandchild)
        assert procfs.group_members(process.pid) == []

    with_adopted(identity, scenario)


def test_what_is_left_again_runs_on() -> None:
    """Let go of, it is neither signalled nor watched any more."""
    identity = orphan("exec sleep 300")

    async def scenario(process: AdoptedProcess, told: list[bool]) -> None:
        process.leave()
        process.send(signal.SIGKILL)
        assert identity.find() is not None
        os.kill(process.pid, signal.SIGKILL)
        assert gone(process.pid)
        await asyncio.sleep(0)
        assert told == []

    with_adopted(identity, scenario)


def test_the_group_of_a_stranger_with_the_same_id_is_not_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ended process may have been reaped by its parent, and its id given away, before its end is looked at."""
    identity = orphan("exec sleep 300")
    struck: list[int] = []

    async def scenario(process: AdoptedProcess, told: list[bool]) -> None:
        read_stat = procfs.read_stat
        stranger = procfs.ProcessStat(process.pid, "S", process.pid, process.pid, identity.started_ticks + 1)
        monkeypatch.setattr(procfs, "read_stat", lambda pid: stranger if pid == process.pid else read_stat(pid))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] # as the function that it stands for
        monkeypatch.setattr("hub.instance.adopted.kill_group", struck.append)
        os.kill(process.pid, signal.SIGKILL)
        await process.exited.wait()
        assert told == [True]

    with_adopted(identity, scenario)
    assert struck == []


def test_only_the_very_process_is_taken_over() -> None:
    """Not one of the same id that was started at another time or in another boot; nor one that has ended."""
    identity = orphan("exec sleep 300")
    pid, ticks, boot = identity.pid, identity.started_ticks, identity.boot_id

    async def scenario() -> None:
        for other in (
            ProcessIdentity(pid, ticks + 1, boot),
            ProcessIdentity(pid, ticks, "another"),
            ProcessIdentity(pid, ticks, ""),
        ):
            assert adopt_process(other, lambda: None) is None
        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
        assert adopt_process(identity, lambda: None) is None

    asyncio.run(scenario())


def test_an_ended_child_is_reaped_when_it_is_looked_for() -> None:
    """One that ended while its host had no hub is a zombie until then."""
    child = subprocess.Popen(["true"], start_new_session=True)
    child.returncode = 0
    identity = identity_of(child.pid)
    assert gone(child.pid)

    async def scenario() -> None:
        assert adopt_process(identity, lambda: None) is None

    asyncio.run(scenario())
    assert is_reaped(child.pid)


def test_an_identity_tells_when_its_process_was_started() -> None:
    """By the wall clock, to within a tick: what a process has made is known by that."""
    before = time.time()
    with subprocess.Popen(["sleep", "60"]) as child:
        after = time.time()
        tick = 1 / os.sysconf("SC_CLK_TCK")
        assert before - 2 * tick <= identity_of(child.pid).started_at() <= after + 2 * tick
        child.kill()


async def left_by(bench: Bench, kind: Kind) -> tuple[InstanceSpec, ProcessIdentity]:
    """A server that a runner has started and let go of."""
    earlier = LocalRunner("test-hub", bench.ports, bench.workers, bench.folder, outlive=True)
    spec = InstanceSpec("tenant-42", kind, bench.data_dir, bench.folder / "log", epoch=7)
    instance = await earlier.start(spec, bench.on_exit)
    instance.leave()
    bench.ports.release(instance.port)
    return (
        InstanceSpec("tenant-42", kind, bench.data_dir, bench.folder / "log", epoch=1, port=instance.port),
        ProcessIdentity(instance.pid, instance.started_ticks, instance.boot_id),
    )


async def adopted(bench: Bench, kind: Kind) -> tuple[Instance, ProcessIdentity]:
    spec, identity = await left_by(bench, kind)
    instance = await bench.runner.adopt(spec, identity, bench.on_exit, timeout_s=5.0)
    assert instance is not None
    return instance, identity


def test_an_adopted_instance_is_like_one_that_was_started(run: Run) -> None:
    """Same process and port, which is reserved; it is probed, its output is there, and it stops in good order."""

    async def scenario(bench: Bench) -> None:
        instance, identity = await adopted(bench, server(live="http:/ok", gc="http:/gc"))
        assert (instance.pid, instance.started_ticks, instance.boot_id) == (
            identity.pid,
            identity.started_ticks,
            identity.boot_id,
        )
        assert (instance.epoch, instance.alive, instance.exit_status) == (1, True, None)
        assert bench.ports.held == {instance.port}
        assert not bench.ports.reserve(instance.port)
        assert instance.last_output() == "serving"
        assert await instance.probe()
        await instance.collect_garbage()
        assert await instance.stop(force=False) == Stopped(clean=True, exit_status=0)
        assert bench.exits == [instance]

    run(scenario)


def test_the_port_of_an_adopted_instance_is_given_back_when_it_ends(run: Run) -> None:
    """Whoever ends it: its end is told once, in words too."""

    async def scenario(bench: Bench) -> None:
        instance, identity = await adopted(bench, server())
        os.kill(identity.pid, signal.SIGKILL)
        await bench.exited.wait()
        assert bench.ports.held == frozenset()
        assert not instance.alive
        assert instance.describe_exit() == "SIGKILL"
        await instance.kill()
        assert bench.exits == [instance]

    run(scenario)


def test_an_instance_whose_port_is_held_is_not_adopted(run: Run) -> None:
    """Two modules can't have one port; nothing is signalled, and the holder keeps it."""

    async def scenario(bench: Bench) -> None:
        spec, identity = await left_by(bench, server())
        assert spec.port is not None
        assert bench.ports.reserve(spec.port)
        assert await bench.runner.adopt(spec, identity, bench.on_exit, timeout_s=5.0) is None
        assert bench.ports.held == {spec.port}
        bench.ports.release(spec.port)
        assert await bench.runner.end(spec, identity)
        assert gone(identity.pid)

    run(scenario)


@pytest.mark.parametrize("live", ["http:/down", "http:/mute"])
def test_an_instance_that_does_not_answer_well_is_not_adopted_and_not_signalled(run: Run, live: str) -> None:
    """A bad answer or none within the time: it is left as it is, its port is free to reserve, and it can be ended."""

    async def scenario(bench: Bench) -> None:
        spec, identity = await left_by(bench, server(live=live))
        assert await bench.runner.adopt(spec, identity, bench.on_exit, timeout_s=0.2) is None
        assert identity.find() is not None
        assert bench.ports.held == frozenset()
        assert await bench.runner.end(spec, identity)
        assert gone(identity.pid)
        assert not await bench.runner.end(spec, identity)
        assert bench.exits == []

    run(scenario)


def test_one_that_does_not_end_when_asked_is_killed(run: Run) -> None:
    """Past its `stop_timeout`, also where it was stopped (SIGSTOP) and is asked while it sleeps."""

    async def scenario(bench: Bench) -> None:
        spec, identity = await left_by(bench, server("stubborn", stop_timeout=0.1))
        os.kill(identity.pid, signal.SIGSTOP)
        assert await bench.runner.end(spec, identity)
        assert gone(identity.pid)

    run(scenario)


def test_an_instance_of_a_user_that_is_gone_is_not_adopted(run: Run) -> None:
    """What would be run beside it can't be run as that user any more."""

    async def scenario(bench: Bench) -> None:
        spec, identity = await left_by(bench, server())
        strange = InstanceSpec(
            spec.module_id, server(user="nobody-has-this-name"), spec.data_dir, spec.log, spec.epoch, spec.port
        )
        found = await bench.runner.adopt(strange, identity, bench.on_exit, timeout_s=5.0)
        assert (found is None) == (os.geteuid() == 0)
        if found is None:
            assert await bench.runner.end(strange, identity)
        else:
            await found.kill()

    run(scenario)


SURVIVOR = """
import asyncio, sys
from pathlib import Path
from hub.instance import InstanceSpec, LocalRunner
from hub.instance.ports import PortAllocator
from hub.workers import Workers
from tests.hub.instance.bench import server

async def main():
    folder = Path(sys.argv[1])
    runner = LocalRunner("test-hub", PortAllocator(None), Workers(), folder, outlive=sys.argv[2] == "outlive")
    spec = InstanceSpec("m", server(), folder, folder / "log", epoch=1)
    instance = await runner.start(spec, print)
    print(instance.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("outlive", [True, False])
def test_servers_outlive_their_killed_hub_only_where_that_is_asked_for(tmp_path: Path, outlive: bool) -> None:
    """The parent-death signal is left out for the servers of such a hub, and for nobody else's."""
    arguments = [str(tmp_path), "outlive" if outlive else "die"]
    with subprocess.Popen([sys.executable, "-c", SURVIVOR, *arguments], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        identity = identity_of(pid)
        host.kill()
        host.wait()
    if outlive:
        assert identity.find() is not None
        os.kill(pid, signal.SIGKILL)
    assert gone(pid)


DIES_WITH_ITS_PARENT = """
import ctypes, sys
number = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(number))  # PR_GET_PDEATHSIG
sys.exit(number.value != 9)
"""


def test_hooks_of_a_server_that_outlives_its_hub_do_not(run: Run) -> None:
    """Nobody would adopt a hook: it has the parent-death signal."""

    async def scenario(bench: Bench) -> None:
        spec, identity = await left_by(bench, server(gc=[*PYTHON, DIES_WITH_ITS_PARENT]))
        runner = LocalRunner("test-hub", bench.ports, bench.workers, bench.folder, outlive=True)
        instance = await runner.adopt(spec, identity, bench.on_exit, timeout_s=5.0)
        assert instance is not None
        await instance.collect_garbage()
        await instance.kill()

    run(scenario)


def test_a_server_is_found_by_its_data_and_told_from_its_daemons(tmp_path: Path, signals: Signals) -> None:
    """The first process of a session that carries the directory is the server; others are what it has started."""

    async def scenario() -> None:
        process = shell(WHEREVER["its data"], signals.path, folder=tmp_path)
        daemon = int(await signals.line())
        assert find_leaders([tmp_path, tmp_path / "other"]) == {tmp_path: identity_of(process.pid)}
        await process.kill()
        assert find_leaders([tmp_path]) == {tmp_path: identity_of(daemon)}
        os.kill(daemon, signal.SIGKILL)
        assert gone(daemon)

    asyncio.run(scenario())


WHEREVER = {
    "its group": f"""env -i {MARKER}=swept-hub sh -c 'echo $$ > "$1"; exec sleep 300' sh "$1" > /dev/null 2>&1 & wait""",
    "its data": """setsid sh -c 'echo $$ > "$1"; exec sleep 300' sh "$1" > /dev/null 2>&1 & wait""",
    "its log": """env -i setsid sh -c 'echo $$ > "$1"; exec sleep 300' sh "$1" & wait""",
}


@pytest.mark.parametrize("script", WHEREVER.values(), ids=WHEREVER)
def test_a_sweep_spares_a_server_and_all_that_it_started(tmp_path: Path, signals: Signals, script: str) -> None:
    """By its group, its data's marker, or its log, wherever it moved to; a sweep that spares nobody ends both."""

    async def scenario() -> None:
        process = shell(script, signals.path, folder=tmp_path, hub_id="swept-hub")
        other = int(await signals.line())
        spared = Spared([process.pid], [tmp_path], [tmp_path / "log"])
        assert kill_marked(MARKER, "swept-hub", tmp_path / "log", spared) == []
        assert procfs.read_stat(other) is not None
        assert {pid for pid, _ in kill_marked(MARKER, "swept-hub", tmp_path / "log")} >= {process.pid, other}
        assert gone(other)
        await process.exited.wait()

    asyncio.run(scenario())
