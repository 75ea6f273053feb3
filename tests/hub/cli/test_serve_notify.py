"""What the service manager is told, over a real datagram socket."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.cli.serve.notify import Notifier
from tests.hub.cli.serving import served


def receive(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().splitlines()


def exhaust(manager: socket.socket) -> None:
    while True:
        receive(manager)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.settimeout(20)
        if request.param == "path":
            name = str(tmp_path / "notify")
            bound.bind(name)
            yield bound, name
        else:
            name = f"modhub-test-{os.getpid()}"
            bound.bind("\0" + name)
            yield bound, "@" + name


def test_the_whole_life_is_told(manager: tuple[socket.socket, str], tmp_path: Path) -> None:
    """READY when requests are answered, signs of life at half the interval from the loop, STOPPING at the signal."""
    bound, address = manager
    with served(tmp_path, NOTIFY_SOCKET=address, WATCHDOG_USEC="200000") as hub:
        lines: list[str] = []
        while "READY=1" not in lines:
            lines = receive(bound)
        assert f"STATUS=serving on {hub.url}" in lines
        assert hub.get("/health") == b"OK!"
        assert receive(bound) == ["WATCHDOG=1"]
        assert receive(bound) == ["WATCHDOG=1"]
        hub.process.send_signal(signal.SIGSTOP)
        bound.settimeout(0.5)
        with pytest.raises(TimeoutError):  # a hang is what the manager has to notice
            exhaust(bound)
        bound.settimeout(20)
        hub.process.send_signal(signal.SIGCONT)
        hub.process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in lines:
            lines = receive(bound)
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in lines)
        assert hub.process.wait(20) == 0


def test_a_start_that_takes_long_asks_for_more_time(manager: tuple[socket.socket, str]) -> None:
    """Until it is ready, and again while it ends, the manager is asked not to lose patience."""
    bound, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.alive()
    assert receive(bound) == ["EXTEND_TIMEOUT_USEC=20000000"]
    notifier.ready("x")
    assert receive(bound) == ["READY=1", "STATUS=x"]
    notifier.alive()  # nothing to say
    notifier.stopping("y")
    assert receive(bound) == ["STOPPING=1", "STATUS=y", "EXTEND_TIMEOUT_USEC=20000000"]


def test_another_process_watchdog_is_none_of_ours(manager: tuple[socket.socket, str]) -> None:
    """`WATCHDOG_PID` says for whom it is meant."""
    _, address = manager
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    assert Notifier(environment).interval_s == 0.1
    assert Notifier(environment | {"WATCHDOG_PID": str(os.getpid())}).interval_s == 0.1
    assert Notifier(environment | {"WATCHDOG_PID": "1"}).interval_s == 5.0


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-listens-here", "vsock:2:3"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    """No socket, or one on which nobody listens, disturbs nothing."""
    notifier = Notifier({"NOTIFY_SOCKET": address} if address else {})
    notifier.ready("x")
    notifier.alive()
    notifier.stopping("y")
    if address in {"", "vsock:2:3"}:
        assert notifier.interval_s is None
