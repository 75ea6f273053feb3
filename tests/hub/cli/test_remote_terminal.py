"""The commands on a terminal: a real pseudo-terminal, as a person has it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.hub.cli.conftest import clean_environment
from tests.hub.cli.serving import DEADLINE_S, Served, command, served, until
from tests.hub.cli.test_serve import slow_kind


class Person:
    """Somebody before a terminal, who reads, types and waits."""

    def __init__(self, leader: int, process: subprocess.Popen[bytes]) -> None:
        self.leader, self.process = leader, process
        self.text = ""
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        with suppress(OSError):  # the terminal's other side is closed
            while chunk := os.read(self.leader, 4096):
                self.text += chunk.decode("utf-8", "replace")

    def sees(self, text: str) -> None:
        until(lambda: text in self.text, f"{text!r} in {self.text!r}")

    def types(self, text: str) -> None:
        os.write(self.leader, text.encode())

    def waits(self) -> int:
        code = self.process.wait(DEADLINE_S)
        self._reading.join()
        return code


@contextmanager
def terminal(folder: Path, *arguments: str) -> Generator[Person]:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        command(*arguments),
        env=clean_environment(folder, {"TERM": "xterm"}),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    person = Person(leader, process)
    try:
        yield person
    finally:
        process.kill()
        person.waits()
        os.close(leader)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("hub")
    with served(folder, config=slow_kind(folder)) as running:
        yield running


def test_the_name_is_asked_for_before_a_module_is_destroyed(hub: Served) -> None:
    """What it is is shown first; another answer destroys nothing, the name does."""
    assert hub.cli("provision", "precious").returncode == 0
    with terminal(hub.folder, "obliterate", "precious", "--url", hub.url) as person:
        person.sees("precious: provisioned, kind store")
        person.sees("Type its name")
        person.types("yes\n")
        assert person.waits() == 1
        assert "nothing was obliterated" in person.text
    assert hub.cli("status", "precious").returncode == 0
    with terminal(hub.folder, "obliterate", "precious", "--url", hub.url) as person:
        person.sees("Type its name")
        person.types("precious\n")
        assert person.waits() == 0
        assert "listed again: nothing is left" in person.text
    assert hub.cli("status", "precious").returncode == 1


def test_progress_is_drawn_and_wiped(hub: Served) -> None:
    """While it takes long a line says what is under way; at the end only the outcome stands there."""
    with terminal(hub.folder, "provision", "slowly", "--kind", "slow", "--url", hub.url) as person:
        person.sees("slowly  starting")
        (hub.folder / "go").touch()
        assert person.waits() == 0
        # The last of what was drawn is wiped before the outcome is written.
        assert "slowly  starting" not in person.text.rpartition("\r\x1b[K")[2]
        assert "http://127.0.0.1:" in person.text
    hub.cli("obliterate", "slowly", "--yes")


def test_top_lives_until_q(hub: Served) -> None:
    """The table is drawn anew, keys sort it, and q gives the terminal back as it was."""
    assert hub.cli("provision", "top-one", "top-two").returncode == 0
    with terminal(hub.folder, "top", "--interval", "0.2", "--url", hub.url) as person:
        person.sees("top-one")
        person.sees("CPU-")
        person.types("n")
        person.sees("MODULE+")
        person.types("n")
        person.sees("MODULE-")
        person.types("m")
        person.sees("MEMORY-")
        person.types("q")
        assert person.waits() == 0
        assert person.text.rstrip().endswith("\x1b[?25h") or "\x1b[?1049l" in person.text
        echo = termios.tcgetattr(person.leader)[3]
        assert echo & termios.ECHO
        assert echo & termios.ICANON


def test_top_ends_by_ctrl_c(hub: Served) -> None:
    """Ctrl-C is a usual way to leave it: exit code 0, and the screen is given back."""
    with terminal(hub.folder, "top", "--url", hub.url) as person:
        person.sees("CPU-")
        person.process.send_signal(signal.SIGINT)
        assert person.waits() == 0
        assert "\x1b[?1049l" in person.text
