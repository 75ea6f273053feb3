"""The copy of a Redis that runs, made by the real redis-server and loaded by another one."""

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from hub.instance.kind import render
from hub.instance.ports import PortAllocator
from hub.kinds import REDIS
from tests.hub.kinds.store_process import wait_for
from tests.hub.resp import command

SLOW_US = "300"  # a key, of the thousands there are: some seconds for a save


class Redis:
    """A Redis as the preset runs it, on data of its own."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self.place = data.with_name(f"{data.name}.checkpoint")
        self.port = PortAllocator(None).acquire()
        data.mkdir(exist_ok=True)
        self.log = data.with_name(f"{data.name}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*self._fill(REDIS.command), *options], cwd=data, stdout=log, stderr=log)
        ready = re.compile(REDIS.ready.removeprefix("log:"))
        wait_for(lambda: ready.search(self.log.read_text()) is not None or self.process.poll() is not None)

    def _fill(self, texts: Sequence[str] | None) -> list[str]:
        assert texts is not None
        return render(texts, port=self.port, data_dir=str(self.data), module_id="m", checkpoint_dir=str(self.place))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, *words: str) -> str | None:
        return command(self.port, *words, timeout=20)

    def persistence(self, name: str) -> str:
        found = re.search(rf"^{name}:(.*?)\r?$", self.ask("INFO", "persistence") or "", re.MULTILINE)
        assert found is not None
        return found[1]

    def fill(self, count: int) -> None:
        """Set many keys, in a few large writes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            lines = (f"SET many-{number} {number}-{'x' * 100}\r\n" for number in range(count))
            connection.sendall("".join(lines).encode())
            answers = connection.makefile("rb")
            for _ in range(count):
                assert answers.readline() == b"+OK\r\n"

    def checkpoint(self) -> subprocess.CompletedProcess[str]:
        """Run the preset's hook on an empty directory, as an instance does."""
        self.place.mkdir(mode=0o700)
        return subprocess.run(
            self._fill(REDIS.checkpoint), cwd=self.data, env={}, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path / "data") as running:
        yield running


@pytest.fixture
def asking() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def snapshots(data: Path) -> list[str]:
    return [path.name for path in data.iterdir() if path.suffix == ".rdb"]


def test_a_redis_starts_from_the_copy(redis: Redis) -> None:
    """All that was acknowledged before is there, nothing of what came after, and no snapshot stays in the data."""
    redis.fill(20_000)
    redis.ask("SET", "k", "before")
    redis.ask("SET", "gone", "x", "PX", "1")
    done = redis.checkpoint()
    assert (done.returncode, done.stderr) == (0, "")
    redis.ask("SET", "k", "after")
    redis.ask("SET", "later", "x")
    assert snapshots(redis.data) == []
    with Redis(redis.place) as copy:
        assert copy.ask("GET", "k") == "before"
        assert [copy.ask("GET", key) for key in ("later", "gone")] == [None, None]
        assert copy.ask("GET", "many-19999") == f"19999-{'x' * 100}"
        assert copy.ask("SET", "k", "again") == "OK"
    with Redis(redis.place) as again:  # killed: what it writes now is in its append-only file, as ever
        assert again.ask("GET", "k") == "again"
        assert again.ask("DBSIZE") == "20001"


def test_the_copy_of_a_copy_is_made_again(redis: Redis) -> None:
    """A Redis that came from a checkpoint is checkpointed like any other, and so is an empty one."""
    assert redis.checkpoint().returncode == 0
    with Redis(redis.place) as first:
        assert first.ask("DBSIZE") == "0"
        first.ask("SET", "k", "v")
        assert first.ask("BGREWRITEAOF") is not None
        assert first.checkpoint().returncode == 0
        with Redis(first.place) as second:
            assert second.ask("GET", "k") == "v"


def test_a_save_that_began_too_early_is_not_taken(redis: Redis, asking: ThreadPoolExecutor) -> None:
    """What was written after the beginning of somebody else's save is in the copy: that save is waited for."""
    redis.fill(5000)
    redis.ask("CONFIG", "SET", "rdb-key-save-delay", SLOW_US)
    redis.ask("BGSAVE")
    redis.ask("SET", "k", "written while it saves")
    asked = asking.submit(redis.checkpoint)
    assert redis.persistence("rdb_bgsave_in_progress") == "1"
    redis.ask("CONFIG", "SET", "rdb-key-save-delay", "0")
    assert asked.result().returncode == 0
    with Redis(redis.place) as copy:
        assert copy.ask("GET", "k") == "written while it saves"


def test_a_save_follows_a_rewrite_of_the_append_only_file(redis: Redis, asking: ThreadPoolExecutor) -> None:
    """While the file is rewritten Redis saves nothing: it is asked to do so as soon as that is over."""
    redis.fill(5000)
    redis.ask("CONFIG", "SET", "rdb-key-save-delay", SLOW_US)
    redis.ask("BGREWRITEAOF")
    wait_for(lambda: redis.persistence("aof_rewrite_in_progress") == "1")
    redis.ask("SET", "k", "written while it rewrites")
    asked = asking.submit(redis.checkpoint)
    assert redis.persistence("aof_rewrite_in_progress") == "1"
    redis.ask("CONFIG", "SET", "rdb-key-save-delay", "0")
    assert asked.result().returncode == 0
    with Redis(redis.place) as copy:
        assert copy.ask("GET", "k") == "written while it rewrites"
        assert copy.ask("DBSIZE") == "5001"


def test_a_save_that_fails_is_a_failure(redis: Redis) -> None:
    """Where Redis can't write its snapshot there is no copy, also not the one of another save before."""
    redis.ask("SET", "k", "v")
    (redis.data / "dump.rdb" / "in-the-way").mkdir(parents=True)
    done = redis.checkpoint()
    assert (done.returncode, done.stderr) == (1, "checkpoint: BGSAVE failed; Redis' own lines above say why\n")
    assert [*redis.place.iterdir()] == []
    assert redis.ask("SET", "k", "goes on") == "OK"


def test_a_redis_that_refuses_is_told(redis: Redis) -> None:
    """Its own words stand in the module's log."""
    redis.ask("CONFIG", "SET", "requirepass", "secret")
    done = redis.checkpoint()
    assert done.returncode == 1
    assert done.stderr.startswith("checkpoint: NOAUTH")


def test_a_redis_that_ends_meanwhile_is_told(redis: Redis) -> None:
    """Without a server, or with one that goes, there is no copy."""
    redis.process.kill()
    redis.process.wait()
    done = redis.checkpoint()
    assert done.returncode == 1
    assert done.stderr.startswith("checkpoint: ")
    assert "Traceback" not in done.stderr


def test_what_a_killed_redis_had_begun_is_deleted(redis: Redis) -> None:
    """Its unfinished snapshots would go home with the data; those of a process that lives stay."""
    redis.ask("SET", "k", "v")
    ended = subprocess.Popen(["true"])
    ended.wait()
    names = [f"temp-{ended.pid}.rdb", f"temp-{os.getpid()}.rdb", "temp-rewriteaof-1.aof", "temp-x.rdb"]
    for name in names:
        (redis.data / name).touch()
    assert redis.checkpoint().returncode == 0
    assert sorted(snapshots(redis.data)) == sorted([f"temp-{os.getpid()}.rdb", "temp-x.rdb"])
    assert (redis.data / "temp-rewriteaof-1.aof").exists()


def test_the_servers_own_settings_decide_where_the_copy_goes(tmp_path: Path) -> None:
    """A kind that is derived from the preset may name its files otherwise, or keep no append-only file."""
    named = ["--appendfilename", "log.aof", "--appenddirname", "logs", "--dbfilename", "all.rdb"]
    with Redis(tmp_path / "named", *named) as redis:
        redis.ask("SET", "k", "named")
        assert redis.checkpoint().returncode == 0
        with Redis(redis.place, *named) as copy:
            assert copy.ask("GET", "k") == "named"
    with Redis(tmp_path / "plain", "--appendonly", "no") as redis:
        redis.ask("SET", "k", "plain")
        assert redis.checkpoint().returncode == 0
        with Redis(redis.place, "--appendonly", "no") as copy:
            assert copy.ask("GET", "k") == "plain"
