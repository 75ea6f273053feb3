"""The local runner with real servers: ready means that this child answers; nothing of a failed start is left."""

import asyncio
import re
import signal
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest

from hub.errors import PortsExhausted, StartFailed
from hub.instance import Kind, Stopped, procfs
from hub.instance.ending import describe_exit
from hub.instance.ports import LOOPBACK, PortAllocator, is_free
from tests.hub.instance.bench import Bench, Run, script, server
from tests.hub.instance.support import Signals, gone


def test_a_started_instance_answers_on_its_port(run: Run, tmp_path: Path) -> None:
    """It runs as its spec says, on the preferred port, and its end is told once and gives the port back."""

    async def scenario(bench: Bench) -> None:
        port = PortAllocator(None).acquire()
        instance = await bench.start(server(), port)
        assert (instance.epoch, instance.host, instance.port) == (7, LOOPBACK, port)
        assert instance.exit_status is None
        assert procfs.listener_in_group(port, instance.pid)
        assert bench.ports.held == {port}
        assert instance.last_output() == "serving"
        assert await instance.stop(force=False) == Stopped(clean=True, exit_status=0)
        assert not instance.alive
        assert bench.exits == [instance]

    run(scenario)


def test_a_start_that_waits_for_a_line_connects_to_nobody(run: Run) -> None:
    """Whose port it is the kernel tells: the first connection that the server gets is its first client's."""
    text = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(0.1)  # looked at many times meanwhile
print("serving", flush=True)
print("first:", listener.accept()[0].recv(100).decode(), flush=True)
time.sleep(60)
"""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(text=text))
        with socket.create_connection((LOOPBACK, instance.port)) as client:
            client.sendall(b"client")
            with anyio.fail_after(20):
                while "first:" not in instance.last_output():  # noqa: ASYNC110 - a file tells nobody
                    await anyio.sleep(0.005)
        assert instance.last_output() == "serving\nfirst: client"
        await instance.kill()

    run(scenario)


def test_placeholders_reach_command_and_environment(run: Run, tmp_path: Path) -> None:
    """Port, data directory and module id are filled in for both; the working directory is the data."""

    async def scenario(bench: Bench) -> None:
        text = 'echo "$1 $2 $TENANT $WHERE"; pwd; exit 1'
        kind = script(text, "{module_id}", "{data_dir}", env={"TENANT": "{module_id}", "WHERE": "{data_dir}/x"})
        with pytest.raises(StartFailed) as failed:
            await bench.start(kind)
        assert failed.value.output == f"tenant-42 {tmp_path} tenant-42 {tmp_path}/x\n{tmp_path}"

    run(scenario)


def test_a_process_that_ends_at_once_is_told_with_its_last_words(run: Run) -> None:
    """The failure does not wait for the time-out, and has the exit status and what was written."""

    async def scenario(bench: Bench) -> None:
        kind = script("echo no such database >&2; exit 3", start_timeout=3600)
        with pytest.raises(StartFailed, match="'sh' ended with exit code 3 before it was ready") as failed:
            await bench.start(kind)
        assert failed.value.output == "no such database"
        assert len(bench.exits) == 1

    run(scenario)


def test_a_process_that_is_never_ready_is_killed(run: Run, signals: Signals) -> None:
    """After its `start_timeout` nothing of it is left, and the error names probe and time."""

    async def scenario(bench: Bench) -> None:
        kind = script(
            "trap '' TERM; echo warming up; sleep 60 & echo $! > \"$1\"; wait", str(signals.path), start_timeout=0.2
        )
        with pytest.raises(StartFailed, match=r"was not ready \(tcp\) within 0.2 s") as failed:
            await bench.start(kind)
        assert failed.value.output == "warming up"
        assert re.match(r"it does not listen on port \d+: .*start_timeout.*\{port\}", failed.value.hint)
        assert gone(int(await signals.line()))

    run(scenario)


def test_only_this_runs_output_stands_in_the_error(run: Run) -> None:
    """What an earlier run wrote is not shown as the reason of this failure."""

    async def scenario(bench: Bench) -> None:
        (bench.folder / "log").write_text("serving since yesterday\n")
        with pytest.raises(StartFailed) as failed:
            await bench.start(script("echo today; exit 1", ready="log:serving"))
        assert failed.value.output == "today"

    run(scenario)


def test_a_program_that_is_missing_gives_its_port_back(run: Run) -> None:
    """Nothing is held for a process that never was."""

    async def scenario(bench: Bench) -> None:
        with pytest.raises(StartFailed, match="no-such-program"):
            await bench.start(Kind("missing", command=["no-such-program"]))
        assert bench.exits == []

    run(scenario)


class OnePort(PortAllocator):
    """Gives out a port that somebody takes between the look and the child's start; afterwards free ones."""

    def __init__(self, taken: int, *, always: bool) -> None:
        super().__init__(None)
        self.taken = taken
        self.always = always
        self.asked: list[int | None] = []

    def acquire(self, preferred: int | None = None) -> int:
        self.asked.append(preferred)
        if len(self.asked) == 1 or self.always:
            self._held.add(self.taken)
            return self.taken
        return super().acquire(preferred)


def test_a_foreign_listener_on_the_port_makes_nobody_ready(run: Run) -> None:
    """An open port is not enough: it must be this child's. The error says that another process has it."""

    async def scenario(bench: Bench) -> None:
        with socket.create_server((LOOPBACK, 0)) as foreign:
            bench.runner._ports = bench.ports = OnePort(foreign.getsockname()[1], always=True)  # pyright: ignore[reportPrivateUsage] # a race, made certain
            with pytest.raises(StartFailed, match="was not ready") as failed:
                await bench.start(script("exec sleep 60", start_timeout=0.05))
            assert failed.value.hint == f"another process listens on port {foreign.getsockname()[1]}"
            assert len(bench.ports.asked) == 5  # it was tried again, but not for ever

    run(scenario)


def test_a_port_lost_in_a_race_costs_no_start(run: Run) -> None:
    """A port that was taken before the child could bind it is given up for another one."""

    async def scenario(bench: Bench) -> None:
        with socket.create_server((LOOPBACK, 0)) as foreign:
            taken = foreign.getsockname()[1]
            bench.runner._ports = bench.ports = OnePort(taken, always=False)  # pyright: ignore[reportPrivateUsage] # a race, made certain
            instance = await bench.start(server(), taken)
            assert instance.port != taken
            assert bench.ports.asked == [taken, None]
            await instance.kill()

    run(scenario)


def test_a_failure_with_a_free_port_is_not_tried_again(run: Run) -> None:
    """A server that fails for its own reasons is started once."""

    async def scenario(bench: Bench) -> None:
        with pytest.raises(StartFailed):
            await bench.start(script("exit 1"))
        assert len(bench.exits) == 1

    run(scenario)


def test_an_exhausted_range_starts_nothing(run: Run) -> None:
    """Without a port there is no process; the error is that of the ports."""

    async def scenario(bench: Bench) -> None:
        with socket.create_server((LOOPBACK, 0)) as foreign:
            port = foreign.getsockname()[1]
            bench.runner._ports = PortAllocator((port, port))  # pyright: ignore[reportPrivateUsage] # a range without a free port
            with pytest.raises(PortsExhausted):
                await bench.start(server())
        assert bench.exits == []

    run(scenario)


def test_a_cancelled_start_leaves_nothing(run: Run, signals: Signals) -> None:
    """The caller's cancellation goes on when the process and its port are gone."""

    async def scenario(bench: Bench) -> None:
        starting = asyncio.ensure_future(bench.start(script('echo $$ > "$1"; exec sleep 60', str(signals.path))))
        pid = int(await signals.line())
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert procfs.read_stat(pid) is None

    run(scenario)


def test_a_stubborn_process_survives_a_clean_stop(run: Run) -> None:
    """Asked without force it may refuse: it still runs after its `stop_timeout`, and that is told."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server("stubborn", stop_timeout=0.05))
        assert await instance.stop(force=False) == Stopped(clean=False, exit_status=None)
        assert instance.alive
        await instance.kill()

    run(scenario)


def test_a_stubborn_process_is_stopped_by_force(run: Run) -> None:
    """With force it is killed when its `stop_timeout` is over, and that is not called clean."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server("stubborn", stop_timeout=0.05))
        assert await instance.stop(force=True) == Stopped(clean=False, exit_status=-signal.SIGKILL)
        assert not is_free(instance.port) or not instance.alive

    run(scenario)


def test_the_stop_signal_is_the_kinds(run: Run) -> None:
    """A kind may stop on another signal than SIGTERM; whatever the exit, ending in time is clean."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server("stubborn", stop_signal="SIGUSR1"))
        assert await instance.stop(force=False) == Stopped(clean=True, exit_status=-signal.SIGUSR1)
        assert instance.describe_exit() == "SIGUSR1"

    run(scenario)


@pytest.mark.parametrize(("live", "answer"), [(None, True), ("tcp", True), ("http:/ok", True), ("http:/bad", False)])
def test_liveness_is_asked_as_the_kind_says(live: str | None, answer: bool, run: Run) -> None:
    """No probe is always live; else the answer decides."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(live=live))
        assert await instance.probe() is answer
        await instance.kill()

    run(scenario)


def test_a_dead_process_is_not_live(run: Run) -> None:
    """After its end the probe gets no answer."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(live="http:/ok"))
        await instance.kill()
        assert await instance.probe() is False

    run(scenario)


@pytest.mark.parametrize(
    ("gc", "error"),
    [
        (None, None),
        ("http:/gc", None),
        ("http:/bad", r"http:/bad answered 500"),
        (["sh", "-c", 'test "$1" = {module_id}', "sh", "tenant-42"], None),
        (["sh", "-c", "exit 3"], r"'sh' ended with exit code 3"),
        (["no-such-program"], "no-such-program"),
    ],
)
def test_garbage_is_collected_as_the_kind_says(gc: Any, error: str | None, run: Run) -> None:
    """A request must be answered 2xx, a command must end with 0; what went wrong is raised."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(gc=gc))
        if error is None:
            await instance.collect_garbage()
        else:
            with pytest.raises((RuntimeError, StartFailed), match=error):
                await instance.collect_garbage()
        assert instance.alive
        await instance.kill()

    run(scenario)


@pytest.mark.parametrize("gc", ["http:/mute", ["sh", "-c", "trap '' TERM; sleep 60 & wait"]])
def test_a_collection_that_hangs_is_ended(gc: Any, run: Run) -> None:
    """After its `gc_timeout` the hook is over: its connection closed, its command killed with all it started."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(gc=gc, gc_timeout=0.05))
        with pytest.raises(TimeoutError):
            await instance.collect_garbage()
        await instance.kill()

    run(scenario)


COPY = ["sh", "-c", 'cp "$1/file" "$2/"', "sh", "{data_dir}", "{checkpoint_dir}"]


def test_a_checkpoint_fills_a_directory_that_was_made_empty(run: Run) -> None:
    """The hook finds an empty directory beside the data, whatever was left there, and copies to it."""

    async def scenario(bench: Bench) -> None:
        (bench.data_dir / "file").write_text("kept")
        beside = bench.data_dir.with_name("checkpoint")
        instance = await bench.start(server(checkpoint=COPY))
        for _ in range(2):
            (beside / "deep").mkdir(parents=True, exist_ok=True)
            (beside / "deep" / "left").write_text("by another attempt")
            await instance.checkpoint()
            assert {path.name: path.read_text() for path in beside.iterdir()} == {"file": "kept"}
            assert beside.stat().st_mode & 0o777 == 0o700
        await instance.kill()

    run(scenario)


def test_a_server_is_told_where_its_checkpoints_go(run: Run) -> None:
    """`{checkpoint_dir}` is the same for the server's command, its environment and the hook."""

    async def scenario(bench: Bench) -> None:
        hook = ["sh", "-c", 'echo "$1 $PLACE" > "$1/said"', "sh", "{checkpoint_dir}"]
        instance = await bench.start(server(env={"PLACE": "{checkpoint_dir}"}, checkpoint=hook))
        await instance.checkpoint()
        place = bench.data_dir.with_name("checkpoint")
        assert (place / "said").read_text() == f"{place} {place}\n"
        await instance.kill()

    run(scenario)


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("http:/bad", r"http:/bad answered 500"),
        ("http:/gc", r"there is no file in"),
        (["sh", "-c", "exit 3"], r"'sh' ended with exit code 3"),
        (["true"], r"there is no file in"),
        (["sh", "-c", 'mkdir -p "$1/a/b"; ln -s "$2" "$1/a/data"', "sh", "{checkpoint_dir}", "{data_dir}"], "no file"),
        (["no-such-program"], "no-such-program"),
    ],
)
def test_a_checkpoint_that_fails_or_copies_nothing_is_an_error(hook: Any, error: str, run: Run) -> None:
    """Neither a refusal nor success without a file counts: folders and links alone are no copy of the data."""

    async def scenario(bench: Bench) -> None:
        (bench.data_dir / "file").write_text("kept")
        instance = await bench.start(server(checkpoint=hook))
        with pytest.raises((RuntimeError, StartFailed), match=error):
            await instance.checkpoint()
        assert instance.alive
        await instance.kill()

    run(scenario)


@pytest.mark.parametrize("hook", ["http:/mute", ["sh", "-c", "trap '' TERM; sleep 60 & wait"]])
def test_a_checkpoint_that_hangs_is_ended(hook: Any, run: Run) -> None:
    """After its `checkpoint_timeout` the hook is over: its connection closed, its command killed with all it started."""

    async def scenario(bench: Bench) -> None:
        instance = await bench.start(server(checkpoint=hook, checkpoint_timeout=0.05))
        with pytest.raises(TimeoutError):
            await instance.checkpoint()
        await instance.kill()

    run(scenario)


def test_a_cancelled_checkpoint_ends_its_hook(run: Run, signals: Signals) -> None:
    """The hook's process and what it started are gone before the cancellation goes on, however often it comes."""

    async def scenario(bench: Bench) -> None:
        hook = ["sh", "-c", 'sleep 60 & echo "$$ $!" > "$1"; wait', "sh", str(signals.path)]
        instance = await bench.start(server(checkpoint=hook))
        pids: list[int] = []
        async with anyio.create_task_group() as group:
            group.start_soon(instance.checkpoint)
            pids += [int(pid) for pid in (await signals.line()).split()]
            group.cancel_scope.cancel()
        assert len(pids) == 2
        for pid in pids:
            stat = procfs.read_stat(pid)
            assert stat is None or stat.state == "Z"
        assert instance.alive
        await instance.kill()

    run(scenario)


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exit code 0"), (3, "exit code 3"), (-9, "SIGKILL"), (-15, "SIGTERM"), (-40, "signal 40")],
)
def test_an_exit_is_put_into_words(status: int, words: str) -> None:
    """Signals are named where they have a name."""
    assert describe_exit(status) == words
