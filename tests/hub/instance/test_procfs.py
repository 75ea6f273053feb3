"""What /proc tells, asked about real processes and sockets."""

import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.instance import procfs
from hub.instance.ports import LOOPBACK

# A process that renames itself, then says so and waits.
RENAMED = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
print("renamed", flush=True)
sys.stdin.read()
"""


@contextmanager
def renamed(name: bytes) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-I", "-S", "-c", RENAMED, name.hex()]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "renamed\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_process_is_told_by_its_group_session_and_start() -> None:
    """Our own entry agrees with what the system calls say; asked twice, the start is the same."""
    stat = procfs.read_stat(os.getpid())
    assert stat is not None
    assert (stat.pid, stat.group, stat.session) == (os.getpid(), os.getpgrp(), os.getsid(0))
    again = procfs.read_stat(os.getpid())
    assert again is not None
    assert again.started_ticks == stat.started_ticks > 0


@pytest.mark.parametrize(
    "name",
    [b"two words", b"a) S 1 1 1", b"(((", b")))", b"\xff\xfe", "gr\u00fc\u00dfe".encode()[:-2], b"line\nfeed", b""],
)
def test_a_processs_name_can_not_mislead(name: bytes) -> None:
    """Spaces, brackets, line feeds and bytes that are no text in a name change nothing about what is read."""
    with renamed(name) as process:
        assert Path(f"/proc/{process.pid}/comm").read_bytes() == name + b"\n"
        stat = procfs.read_stat(process.pid)
        assert stat is not None
        assert (stat.group, stat.session) == (process.pid, process.pid)
        assert stat.state in "RSD"
        assert procfs.group_members(process.pid) == [process.pid]


def test_a_process_that_is_gone_is_none() -> None:
    """An id that nobody has is no error."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert procfs.read_stat(process.pid) is None
    assert not procfs.environ_has(process.pid, b"A=1")
    assert procfs.command_of(process.pid) == ""


def test_a_zombie_is_no_member_of_its_group() -> None:
    """A process that has ended but was not reaped counts as gone from its group."""
    with subprocess.Popen(["true"], start_new_session=True) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        stat = procfs.read_stat(process.pid)
        assert stat is not None
        assert stat.state == "Z"
        assert procfs.group_members(process.pid) == []


def test_all_processes_are_listed() -> None:
    """The list has this process and its child, and numbers only."""
    with subprocess.Popen(["sleep", "60"]) as process:
        assert {os.getpid(), process.pid} <= set(procfs.pids())
        process.kill()


# Says that it runs: during the exec itself neither environment nor command line can be read.
SPEAKING = ["sh", "-c", "echo up; read _"]


def test_the_environment_is_matched_whole() -> None:
    """A variable counts by its name and its whole value, never as a part of another one."""
    environment = {"MARK": "abc", "OTHER": "MARK=xyz", "PATH": os.environ["PATH"]}
    with subprocess.Popen(SPEAKING, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert procfs.environ_has(process.pid, b"MARK=abc")
        for wrong in (b"MARK=ab", b"MARK=abcd", b"ARK=abc", b"MARK=xyz", b"MARK"):
            assert not procfs.environ_has(process.pid, wrong)
        process.kill()


def test_a_command_line_is_shortened() -> None:
    """The log shows arguments parted by spaces, and no more than 200 characters."""
    command = [*SPEAKING, "0" * 500]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        shown = procfs.command_of(process.pid)
        process.kill()
    assert shown.startswith("sh -c echo up; read _ 000")
    assert len(shown) == 200


def test_the_boot_has_an_id() -> None:
    """It is one line, the same each time."""
    assert len(procfs.boot_id()) == 36
    assert procfs.boot_id() == procfs.boot_id()


LISTENER = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
if "worker" in sys.argv:
    if os.fork():
        listener.close()
        sys.stdin.read()
        sys.exit()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def listening(*arguments: str) -> Generator[tuple[int, int]]:
    """A process, leader of its group, that listens itself or through a worker; its id and port."""
    command = [sys.executable, "-I", "-S", "-c", LISTENER, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            os.killpg(process.pid, 9)


@pytest.mark.parametrize("arguments", [[], ["worker"]])
def test_a_listener_is_found_in_its_group(arguments: list[str]) -> None:
    """The port belongs to the group of the leader, whether it listens itself or a worker of it does."""
    with listening(*arguments) as (leader, port):
        assert procfs.listener_in_group(port, leader)


def test_somebody_elses_listener_is_not_ours() -> None:
    """An open port proves nothing: the listener of this process is not in the child's group, nor the other way."""
    with socket.create_server((LOOPBACK, 0)) as mine, listening() as (leader, port):
        own_port = mine.getsockname()[1]
        assert not procfs.listener_in_group(own_port, leader)
        assert not procfs.listener_in_group(port, os.getpid())
        assert procfs.listener_in_group(own_port, os.getpid())


def test_who_takes_connections_is_told_from_who_does_not() -> None:
    """A process that listens does, another one does not, be it its worker's leader; without a listener nobody does."""
    with socket.socket() as unbound, listening() as (leader, port), listening("worker") as (above, workers_port):
        unbound.bind((LOOPBACK, 0))
        assert procfs.takes_connections(leader, port) is True
        assert procfs.takes_connections(os.getpid(), port) is False
        assert procfs.takes_connections(above, workers_port) is False
        assert procfs.takes_connections(leader, unbound.getsockname()[1]) is None


def test_a_connection_is_no_listener() -> None:
    """A process that is connected from or to a port does not listen on it."""
    with listening() as (_, port), socket.create_connection((LOOPBACK, port)) as connection:
        assert not procfs.listener_in_group(port, os.getpid())
        assert not procfs.listener_in_group(connection.getsockname()[1], os.getpid())


def test_a_port_that_nobody_listens_on_is_nobodys() -> None:
    """Without a listener there is no group that has it."""
    with socket.socket() as unbound:
        unbound.bind((LOOPBACK, 0))  # bound, but not listening
        assert not procfs.listener_in_group(unbound.getsockname()[1], os.getpid())
