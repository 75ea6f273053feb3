"""Real children: their environment, their group, their end, and what outlives a killed hub."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from hub.errors import StartFailed
from hub.instance import output, procfs
from hub.instance.leftovers import find_leaders, kill_marked
from hub.instance.process import DATA_MARKER, MARKER, child_environment, spawn
from tests.hub.instance.support import PATIENCE_S, Signals, gone, shell

# Tells its process id, ignores SIGTERM and waits: it has to be killed.
STUBBORN = """trap '' TERM; echo $$ > "$1"; while :; do sleep 60; done"""
# As that, and starts two that are as stubborn, one of them in a session of its own when $2 is setsid.
FAMILY = f"""trap '' TERM
sh -c '{STUBBORN.replace("'", chr(39) + '"' + chr(39) + '"' + chr(39))}' sh "$1" &
$2 sh -c '{STUBBORN.replace("'", chr(39) + '"' + chr(39) + '"' + chr(39))}' sh "$1" &
wait"""


def test_a_childs_environment_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only PATH is the host's; home, language and the marker are ours, the kind's own variables win but the marker."""
    monkeypatch.setenv("PATH", "/host/bin")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    built = child_environment("id", tmp_path, {"LANG": "C", "TENANT": "m", MARKER: "forged"})
    assert built == {
        "PATH": "/host/bin",
        "HOME": str(tmp_path),
        "LANG": "C",
        "TENANT": "m",
        MARKER: "id",
        DATA_MARKER: str(tmp_path),
    }


def test_a_host_without_a_path_has_a_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs of the system are found all the same."""
    monkeypatch.delenv("PATH")
    assert "/usr/bin" in child_environment("id", tmp_path, {})["PATH"]


def test_no_secret_of_the_host_reaches_the_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The running child's own environment holds what was built, and nothing of the host's."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("PYTHONPATH", "/host")

    async def scenario() -> None:
        process = shell("cat /proc/self/environ", folder=tmp_path)
        await process.exited.wait()

    asyncio.run(scenario())
    variables = dict(v.split("=", 1) for v in (tmp_path / "log").read_text().split("\0") if v)
    assert {k: v for k, v in variables.items() if k not in {"PWD", "SHLVL", "_", "OLDPWD"}} == child_environment(
        "test-hub", tmp_path, {}
    )


def test_a_child_has_no_descriptor_of_the_host(tmp_path: Path) -> None:
    """Stdin is empty, stdout and stderr are the log, and no socket or file of the host's is open in it."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)

    async def scenario() -> None:
        process = shell("for f in /proc/$$/fd/*; do readlink $f; done; echo error >&2", folder=tmp_path)
        await process.exited.wait()

    asyncio.run(scenario())
    os.close(reader)
    os.close(writer)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["/dev/null", str(tmp_path / "log"), str(tmp_path / "log"), "error"]


def test_a_child_leads_a_session_and_group_in_its_directory(tmp_path: Path, signals: Signals) -> None:
    """Signals of the host's terminal do not reach it, and its group can be killed as one."""

    async def scenario() -> None:
        process = shell('pwd > "$1"; exec sleep 60', signals.path, folder=tmp_path)
        assert await signals.line() == str(tmp_path)
        stat = procfs.read_stat(process.pid)
        assert stat is not None
        assert (stat.group, stat.session) == (process.pid, process.pid)
        assert process.started_ticks == stat.started_ticks
        await process.kill()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", -15), ("kill -9 $$", -9)]
)
def test_an_exit_is_told_once_with_its_status(script: str, status: int, tmp_path: Path) -> None:
    """Exit codes are positive, signals negative; the callback comes once, after which no descriptor is left."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    calls: list[bool] = []

    async def scenario() -> int | None:
        process = shell(script, folder=tmp_path, on_exit=lambda: calls.append(True))
        assert process.exit_status is None
        await process.exited.wait()
        process.send(signal.SIGTERM)  # to nobody: no error, and no one who got its id meanwhile is hit
        await process.kill()
        return process.exit_status

    assert asyncio.run(scenario()) == status
    assert calls == [True]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_signal_reaches_the_leader(tmp_path: Path, signals: Signals) -> None:
    """The stop signal arrives at the process, which may end in good order."""

    async def scenario() -> int | None:
        script = """trap 'echo stopped > "$1"; exit 7' INT; echo up > "$1"; while :; do sleep 60 & wait; done"""
        process = shell(script, signals.path, folder=tmp_path)
        assert await signals.line() == "up"
        process.send(signal.SIGINT)
        assert await signals.line() == "stopped"
        await process.exited.wait()
        return process.exit_status

    assert asyncio.run(scenario()) == 7


def test_what_the_host_does_with_signals_is_not_inherited(tmp_path: Path) -> None:
    """Started where signals are blocked and ignored, as by nohup in a script, a child can be stopped by each of them."""

    async def scenario() -> None:
        process = spawn(
            ["grep", "-E", "SigBlk|SigIgn", "/proc/self/status"],
            environment=child_environment("test-hub", tmp_path, {}),
            directory=tmp_path,
            log=tmp_path / "log",
            on_exit=lambda: None,
        )
        await process.exited.wait()

    ignored = {signal.SIGHUP, signal.SIGINT}
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN})
    try:
        asyncio.run(scenario())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    of_the_c_library = 1 << 31 | 1 << 32  # signals 32 and 33, which no program can set
    _, blocked, _, ignored_still = (tmp_path / "log").read_text().split()
    assert int(blocked, 16) & ~of_the_c_library == 0
    assert int(ignored_still, 16) & ~of_the_c_library == 0


def test_killing_ends_the_whole_group(tmp_path: Path, signals: Signals) -> None:
    """Children and grandchildren that ignore SIGTERM are gone when `kill` returns."""

    async def scenario() -> tuple[int, list[int]]:
        process = shell(FAMILY, signals.path, "", folder=tmp_path)
        family = [int(await signals.line()) for _ in range(2)]
        assert set(family) < set(procfs.group_members(process.pid))
        await process.kill()
        assert process.exit_status == -signal.SIGKILL
        return process.pid, procfs.group_members(process.pid)

    pid, left = asyncio.run(scenario())
    assert left == []
    assert procfs.read_stat(pid) is None


def test_a_leader_that_ends_takes_its_group_along(tmp_path: Path, signals: Signals) -> None:
    """A server that crashes leaves no worker behind that would hold its port or its files."""

    async def scenario() -> None:
        process = shell(FAMILY.replace("wait", "read _ < go"), signals.path, "", folder=tmp_path)
        family = [int(await signals.line()) for _ in range(2)]
        go.write_text("\n")
        await process.exited.wait()
        assert all(gone(pid) for pid in family)

    go = tmp_path / "go"
    os.mkfifo(go)
    asyncio.run(scenario())


@pytest.mark.parametrize("command", ["no-such-program", "/no/such/program", "not-executable", "./folder"])
def test_a_program_that_cannot_be_run_is_named(command: str, tmp_path: Path) -> None:
    """A missing or non-executable program is `StartFailed` with its name, before any child is made."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(StartFailed, match=command) as failed:
        spawn([command], environment={"PATH": "/usr/bin:/bin"}, directory=tmp_path, log=tmp_path / "log", on_exit=print)
    assert "install it" in failed.value.hint
    assert not (tmp_path / "log").exists()


def test_a_directory_that_is_gone_is_a_failed_start(tmp_path: Path) -> None:
    """Without its data directory the process is not started somewhere else."""
    with pytest.raises(StartFailed, match="not there any more"):
        spawn(["true"], environment=dict(os.environ), directory=tmp_path / "x", log=tmp_path / "log", on_exit=print)


def test_a_host_without_setpriv_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tool that ties a child's life to the hub's, nothing is started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartFailed, match="setpriv") as failed:
        spawn(["/bin/true"], environment={"PATH": ""}, directory=tmp_path, log=tmp_path / "log", on_exit=print)
    assert "util-linux" in failed.value.hint


HOST = """
import asyncio, sys
from pathlib import Path
from tests.hub.instance.support import shell
async def main():
    shell('echo $$ > "$1"; exec sleep 60', sys.argv[1], folder=Path(sys.argv[2]))
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
"""


def test_a_killed_host_takes_its_children_along(tmp_path: Path, signals: Signals) -> None:
    """kill -9 of the hub's process ends the server at once: the kernel does it, no code of ours has to run."""
    command = [sys.executable, "-c", HOST, str(signals.path), str(tmp_path)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root) as host:
        child = int(asyncio.run(signals.line()))
        assert procfs.read_stat(child) is not None
        host.kill()
    assert gone(child)


def test_what_outlived_a_hub_is_found_wherever_it_went(tmp_path: Path, signals: Signals) -> None:
    """Marked processes are killed, also grandchildren in a session of their own whose parents have ended."""
    hub_id = uuid.uuid4().hex

    async def scenario() -> tuple[list[int], int]:
        process = shell(FAMILY.replace("wait", "read _ < go"), signals.path, "setsid", folder=tmp_path, hub_id=hub_id)
        family = [int(await signals.line()) for _ in range(2)]
        go.write_text("\n")
        await process.exited.wait()
        return family, process.pid

    go = tmp_path / "go"
    os.mkfifo(go)
    family, leader = asyncio.run(scenario())
    (orphan,) = [
        pid for pid in family if (stat := procfs.read_stat(pid)) and stat.group != leader and stat.state != "Z"
    ]
    killed = kill_marked(MARKER, hub_id, tmp_path / "logs")
    assert orphan in [pid for pid, _ in killed]
    # Who is killed in the midst of an exec shows no command.
    assert all(not command or "sh" in command or "sleep" in command for _, command in killed)
    assert gone(orphan)
    assert kill_marked(MARKER, hub_id, tmp_path / "logs") == []


FORGETFUL = """exec env -i setsid sh -c 'echo $$ > "$1"; exec sleep 60' sh "$1\""""


@pytest.mark.parametrize("where", ["log", "."])
def test_what_lost_its_marker_is_found_by_the_log_that_it_writes(where: str, tmp_path: Path, signals: Signals) -> None:
    """A server that overwrites its environment is known by its output; one that reads the log is left alone."""

    async def scenario() -> None:
        process = shell(f"{{ {FORGETFUL}; }} & wait", signals.path, folder=tmp_path)
        lost = int(await signals.line())
        assert not procfs.environ_has(lost, b"PATH=")
        killed = kill_marked(MARKER, uuid.uuid4().hex, tmp_path / where)
        assert lost in [pid for pid, _ in killed]
        assert gone(lost)
        await process.kill()

    log = tmp_path / "log"
    log.touch()
    with subprocess.Popen(["tail", "-f", log], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as reader:
        asyncio.run(scenario())
        assert reader.poll() is None
        reader.kill()


def test_processes_of_other_hubs_are_left_alone(tmp_path: Path, signals: Signals) -> None:
    """Another hub's child, one whose marker only begins alike, and an unmarked process live on; so does this one."""
    hub_id = uuid.uuid4().hex

    async def scenario() -> None:
        script = 'echo up > "$1"; exec sleep 60'
        others = [shell(script, signals.path, folder=tmp_path, hub_id=i) for i in (f"{hub_id}0", hub_id[:-1])]
        for _ in others:
            await signals.line()
        assert kill_marked(MARKER, hub_id, tmp_path / "logs") == []
        for other in others:
            assert procfs.read_stat(other.pid) is not None
            assert other.exit_status is None
            await other.kill()

    with subprocess.Popen(["sleep", "60"]) as unmarked:
        asyncio.run(scenario())
        assert unmarked.poll() is None
        unmarked.kill()


def test_processes_of_a_hub_at_the_same_path_elsewhere_are_left_alone(
    tmp_path: Path, signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another container the same path is another directory, and its hub lives: marker and log are no proof alone."""
    hub_id = uuid.uuid4().hex
    container = tmp_path / "container"
    Path(f"{container}{tmp_path}").mkdir(parents=True)

    def seen_from(root: Path) -> None:
        def root_of(_pid: int) -> str:
            return str(root)

        monkeypatch.setattr(procfs, "root_of", root_of)

    async def scenario() -> None:
        other = shell('echo up > "$1"; exec sleep 60', signals.path, folder=tmp_path, hub_id=hub_id)
        await signals.line()
        seen_from(container)
        assert kill_marked(MARKER, hub_id, tmp_path / "logs") == []
        assert find_leaders([tmp_path]) == {}
        assert other.exit_status is None
        # A sandbox that hides the path is no other container.
        seen_from(tmp_path / "sandbox")
        assert find_leaders([tmp_path])[tmp_path].pid == other.pid
        assert [pid for pid, _ in kill_marked(MARKER, hub_id, tmp_path / "logs")] == [other.pid]
        await other.exited.wait()

    asyncio.run(scenario())


def test_a_hub_that_carries_its_own_marker_does_not_kill_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that sweeps is spared."""
    hub_id = uuid.uuid4().hex
    program = f"from hub.instance.process import MARKER; from hub.instance.leftovers import kill_marked; from pathlib import Path; print(kill_marked(MARKER, {hub_id!r}, Path('/nowhere')))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, MARKER: hub_id},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout == "[]\n"


def test_output_goes_straight_to_the_log(tmp_path: Path) -> None:
    """What a child writes is in the log when it has ended, with no pipe through the hub."""

    async def scenario() -> None:
        process = shell("echo out; echo err >&2; exit 1", folder=tmp_path)
        await process.exited.wait()

    asyncio.run(scenario())
    assert output.tail(tmp_path / "log", lines=5) == "out\nerr"
