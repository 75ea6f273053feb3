"""A kind's `init`: run once, on nothing, all of it or none of it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from hub.errors import StartFailed
from hub.instance import Kind, procfs
from tests.hub.instance.bench import Bench, Run, server
from tests.hub.instance.support import Signals


def initialised(text: str, *arguments: str, **fields: Any) -> Kind:
    return server(init=["sh", "-c", text, "sh", *arguments], **fields)


def on_empty_data(bench: Bench) -> Path:
    bench.data_dir = bench.folder / "module" / "data"
    bench.data_dir.mkdir(parents=True)
    return bench.data_dir


def test_first_data_is_made_once(run: Run) -> None:
    """Where there is nothing the command runs before the server; where there is something it does not."""

    async def scenario(bench: Bench) -> None:
        data = on_empty_data(bench)
        kind = initialised('echo x >> "$1/file"; pwd > "$1/where"; echo "$HOME" >> "$1/where"', "{data_dir}")
        for _ in range(2):
            instance = await bench.start(kind)
            assert (data / "file").read_text() == "x\n"
            await instance.stop(force=False)
        beside = f"{data}.new"
        assert (data / "where").read_text() == f"{beside}\n{beside}\n"
        assert [path.name for path in data.parent.iterdir()] == ["data"]
        assert data.stat().st_mode & 0o777 == 0o700

    run(scenario)


def test_it_runs_under_the_servers_conditions(run: Run) -> None:
    """Its environment is built, its output goes to the module's log, and the kind's variables are there."""

    async def scenario(bench: Bench) -> None:
        on_empty_data(bench)
        kind = initialised('echo "making $TENANT on $1"', "{port}", env={"TENANT": "{module_id}"})
        instance = await bench.start(kind)
        assert (bench.folder / "log").read_text() == f"making tenant-42 on {instance.port}\nserving\n"
        assert instance.last_output() == "serving"
        await instance.kill()

    run(scenario)


def test_what_it_says_makes_no_server_ready(run: Run) -> None:
    """The probe reads what the server itself has written."""

    async def scenario(bench: Bench) -> None:
        on_empty_data(bench)
        kind = Kind("mute", ["sleep", "60"], init=["echo", "serving"], ready="log:serving", start_timeout=0.1)
        with pytest.raises(StartFailed, match="was not ready"):
            await bench.start(kind)

    run(scenario)


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("exit 3", {}, "init of kind 'server' ended with exit code 3"),
        ("kill -9 $$", {}, "init of kind 'server' ended with SIGKILL"),
        ("exec sleep 60", {"init_timeout": 0.2}, r"init of kind 'server' was not done within 0\.2 s"),
    ],
)
def test_a_failure_leaves_nothing(run: Run, text: str, fields: dict[str, Any], message: str) -> None:
    """The data directory is as empty as before, and the error has the last lines; the next start tries again."""

    async def scenario(bench: Bench) -> None:
        data = on_empty_data(bench)
        kind = initialised(f'echo half > "$1/half"; echo no room; {text}', "{data_dir}", **fields)
        with pytest.raises(StartFailed, match=message) as failed:
            await bench.start(kind)
        assert failed.value.output == "no room"
        assert [*data.iterdir()] == []
        assert [*data.parent.iterdir()] == [data]
        instance = await bench.start(initialised('echo all > "$1/all"', "{data_dir}"))
        assert [path.name for path in data.iterdir()] == ["all"]
        await instance.kill()

    run(scenario)


def test_a_program_that_is_missing_is_named(run: Run) -> None:
    """The port is given back, and nothing is left."""

    async def scenario(bench: Bench) -> None:
        data = on_empty_data(bench)
        with pytest.raises(StartFailed, match="no-such-program"):
            await bench.start(server(init=["no-such-program"]))
        assert [*data.parent.iterdir()] == [data]

    run(scenario)


def test_half_of_an_interrupted_attempt_is_deleted(run: Run) -> None:
    """What a killed hub left beside the data is no part of the new attempt."""

    async def scenario(bench: Bench) -> None:
        data = on_empty_data(bench)
        beside = data.with_name("data.new")
        (beside / "deep").mkdir(parents=True)
        (beside / "deep" / "half").write_text("x")
        instance = await bench.start(initialised('echo all > "$1/all"', "{data_dir}"))
        assert [path.name for path in data.iterdir()] == ["all"]
        await instance.kill()

    run(scenario)


def test_a_cancelled_start_ends_it(run: Run, signals: Signals) -> None:
    """All that it started is gone when the cancellation goes on, also in another session, and so is what it made."""

    async def scenario(bench: Bench) -> None:
        data = on_empty_data(bench)
        text = 'touch "$2/half"; setsid sh -c \'echo $$ > "$1"; exec sleep 60\' sh "$1" & wait'
        starting = asyncio.ensure_future(bench.start(initialised(text, str(signals.path), "{data_dir}")))
        pid = int(await signals.line())
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        stat = procfs.read_stat(pid)
        assert stat is None or stat.state == "Z"
        assert [*data.parent.iterdir()] == [data]

    run(scenario)


def test_data_that_is_gone_is_not_made_anew(run: Run) -> None:
    """A missing directory is no empty one: whoever took it away took the data."""

    async def scenario(bench: Bench) -> None:
        on_empty_data(bench).rmdir()
        with pytest.raises(StartFailed, match="is not there any more"):
            await bench.start(initialised("true"))

    run(scenario)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as another user")
def test_it_runs_as_the_kinds_user_who_owns_the_data(run: Run, open_path: Path) -> None:
    """Program, directory and files are the user's, which gets through the hub's closed directories."""

    async def scenario(bench: Bench) -> None:
        bench.runner._root = open_path / "root"  # pyright: ignore[reportPrivateUsage] # where others get through to
        bench.runner._root.mkdir(mode=0o700)  # pyright: ignore[reportPrivateUsage] # as above
        bench.data_dir = bench.runner._root / "module" / "data"  # pyright: ignore[reportPrivateUsage] # as above
        bench.data_dir.mkdir(parents=True, mode=0o700)
        kind = Kind(
            "loop",
            ["sh", "-c", "cat init; id -un; pwd; exec sleep 60"],
            init=["sh", "-c", "id -un > init"],
            user="nobody",
            ready="log:none",
            start_timeout=0.3,
        )
        with pytest.raises(StartFailed) as failed:
            await bench.start(kind)
        assert failed.value.output == f"nobody\nnobody\n{bench.data_dir}"
        assert {bench.data_dir.owner(), (bench.data_dir / "init").owner()} == {"nobody"}

    run(scenario)
