"""What a child runs in, from the command line to the real process."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub.errors import StartFailed
from hub.instance import procfs
from hub.instance.account import account_of
from hub.instance.confinement import UNCONFINED, Confinement, wrap
from hub.instance.process import child_environment, spawn
from tests.hub.instance.support import Signals, gone

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as another user")


def output_of(command: list[str], confinement: Confinement, folder: Path) -> str:
    async def scenario() -> None:
        process = spawn(
            command,
            environment=child_environment("test-hub", folder, {}),
            directory=folder,
            log=folder / "log",
            on_exit=lambda: None,
            confinement=confinement,
        )
        await process.exited.wait()

    asyncio.run(scenario())
    return (folder / "log").read_text()


def test_what_asks_for_nothing_pays_for_nothing() -> None:
    """Without limits and user a child is started by the one program that ties its life to the hub's."""
    wrapper, *rest = wrap(["server", "--flag"], UNCONFINED)
    assert wrapper.endswith("/setpriv")
    assert rest == ["--pdeathsig", "KILL", "--", "server", "--flag"]


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Limits without prlimit are an error, not a start without limits."""
    tool = tmp_path / "setpriv"
    tool.write_text("")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartFailed, match="prlimit was not found") as failed:
        wrap(["server"], Confinement(rlimits=("--nofile=1:1",)))
    assert failed.value.hint == "install util-linux"


def test_limits_hold_from_the_first_instruction(tmp_path: Path) -> None:
    """Soft and hard limit stand when the program begins."""
    script = ["sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Hc"]
    assert output_of(script, Confinement(rlimits=("--nofile=77:77", "--core=0:0")), tmp_path) == "77\n77\n0\n"


def test_a_child_that_cannot_join_its_cgroup_does_not_run(tmp_path: Path) -> None:
    """Its limits would not hold."""
    confinement = Confinement(cgroups=(tmp_path / "no cgroup",))
    assert "nonexistent" in output_of(["echo", "running"], confinement, tmp_path)
    assert "running" not in output_of(["echo", "running"], confinement, tmp_path)


@as_root
def test_a_child_is_its_user_and_nothing_more(tmp_path: Path) -> None:
    """User, groups and rights are those of a login of that user: nothing of root's is left."""
    account = account_of("nobody")
    told = output_of(["cat", "/proc/self/status"], Confinement(account), tmp_path)
    status = dict(line.split(":", 1) for line in told.splitlines())
    assert account is not None
    assert status["Uid"].split() == [str(account.uid)] * 4
    assert status["Gid"].split() == [str(account.gid)] * 4
    assert status["Groups"].split() == [str(account.gid)]
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Amb")} == {0}


HOST = """
import asyncio, sys
from pathlib import Path
from hub.instance.account import account_of
from hub.instance.confinement import Confinement
from hub.instance.process import child_environment, spawn
async def main():
    folder = Path(sys.argv[2])
    spawn(["sh", "-c", 'echo $$ > "$1"; exec sleep 60', "sh", sys.argv[1]],
        environment=child_environment("test-hub", folder, {}), directory=folder, log=folder / "log",
        on_exit=lambda: None, confinement=Confinement(account_of("nobody"), ("--nofile=64:64",)))
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
"""


@as_root
def test_a_killed_host_takes_a_child_of_another_user_along(open_path: Path, signals: Signals) -> None:
    """The kernel forgets the parent-death signal when a process changes its user; it must be set after that."""
    signals.path.chmod(0o666)
    pipe = signals.path.rename(open_path / "signals")
    command = [sys.executable, "-c", HOST, str(pipe), str(open_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as host:
        child = int(asyncio.run(signals.line()))
        assert procfs.read_stat(child) is not None
        host.kill()
    assert gone(child)
