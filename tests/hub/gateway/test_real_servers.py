"""Redis and PostgreSQL behind their gateway ports, as their own clients see them."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hub import Hub, ModuleInfo, State
from hub.kinds import POSTGRES, REDIS
from tests.hub.conftest import MakeHub
from tests.hub.psql import environment
from tests.hub.resp import command

pytestmark = pytest.mark.e2e

USER = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
Away = Callable[[Hub], object]


@pytest.fixture
def tmp_path(open_path: Path) -> Path:
    """Where PostgreSQL's user gets through to."""
    return open_path


def gone(hub: Hub) -> None:
    hub.deprovision("m")


def asleep(hub: Hub) -> None:
    hub.hibernate("m")


@pytest.mark.parametrize("away", [asleep, gone])
def test_redis_is_there_again_when_its_client_connects(make_hub: MakeHub, away: Away) -> None:
    """Hibernated or at home, what was acknowledged is there, on the port that the client knows."""
    hub = make_hub(kinds=[replace(REDIS, gateway=True)], default_kind="redis")
    port = hub.provision("m").gateway_port
    assert port is not None
    assert command(port, "SET", "k", "v") == "OK"
    for _ in range(2):
        away(hub)
        assert command(port, "GET", "k", timeout=30) == "v"


def psql(info: ModuleInfo, statement: str) -> str:
    options = ["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--no-password", "-v", "ON_ERROR_STOP=1"]
    where = ["-h", "127.0.0.1", "-p", str(info.gateway_port), "-U", "postgres"]
    return subprocess.run(
        ["psql", *options, *where, "-c", statement],
        env=environment(info),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_postgresql_is_there_again_when_psql_connects(make_hub: MakeHub) -> None:
    """A session through the gateway wakes the server and finds its tables; a large result arrives whole."""
    kind = replace(POSTGRES, gateway=True, init=[*(POSTGRES.init or ()), "--no-sync"])
    hub = make_hub(kinds=[kind], default_kind="postgres")
    info = hub.provision("m")
    psql(info, "CREATE TABLE t AS SELECT n, repeat('x', 1000) AS text FROM generate_series(1, 2000) n")
    hub.hibernate("m")
    assert len(psql(info, "SELECT * FROM t")) > 2_000_000
    assert hub.module("m").state is State.PROVISIONED
    hub.deprovision("m")
    # The client's password lies with the data, so that it can't ask before the data is here.
    hub.provision("m")
    assert psql(info, "SELECT count(*) FROM t") == "2000"
