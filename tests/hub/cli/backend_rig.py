"""A folder backend with modules in it, and a terminal to run the command on."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backends import Inspection, RemoteModule, Snapshot, open_store
from tests.hub.cli.conftest import clean_environment

ESCAPES = b"evil\x1b]0;pwned\x07\n\x9b31m \xff\\"
"""A name that would change a terminal, is no UTF-8, and has a backslash."""


class BackendRig:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "store"
        self.uri = self.root.as_uri()
        self.store = open_store(self.uri)

    def save(self, module_id: str, files: Mapping[str | bytes, bytes], *, keep_previous: bool = False) -> Snapshot:
        """Send a tree home whose only content is these files."""
        source = self.path / f"source-{len(list(self.path.iterdir()))}"
        source.mkdir()
        for name, data in files.items():
            target = Path(os.fsdecode(os.path.join(os.fsencode(source), os.fsencode(name))))  # noqa: PTH118 - any bytes
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(0o640)
            os.utime(target, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
        return self.send(module_id, source, keep_previous=keep_previous)

    def send(self, module_id: str, source: Path, *, keep_previous: bool = False) -> Snapshot:
        module = RemoteModule(self.store, module_id, owner="hub-1")
        head = module.claim(module.read_head(), "store")
        module.dehydrate(head, source, index=self.path / f"index-{module_id}", keep_previous=keep_previous)
        return self.snapshot(module_id)

    def snapshot(self, module_id: str) -> Snapshot:
        found = Inspection(self.store, module_id).snapshot()
        assert found is not None
        return found

    def blob_of(self, module_id: str, path: bytes, chunk: int = 0) -> Path:
        """The file in the backend that holds a chunk of a module's file."""
        tree = self.snapshot(module_id)
        name = tree.manifest.blobs[tree.content(path)[chunk].blob].digest.hex()
        return self.root / module_id / "blobs" / name


_CTRL_C = "\x03"
# A signal between an interpreter's last look at its signals and its read is not seen until the next one: people press
# the key again, and so does this.
_REPEAT_S = 2.0


@dataclass(frozen=True)
class OnTerminal:
    output: str
    code: int


def on_terminal(
    scratch: Path,
    arguments: Sequence[str],
    *,
    answers: Sequence[tuple[str, str]] = (),
    interrupt_at: str = "",
    **environment: str,
) -> OnTerminal:
    """Run the command on a terminal of 80 columns.

    Args:
        scratch: Its temporary directory.
        arguments: What stands after `modhub`.
        answers: What to wait for, and what to type then.
        interrupt_at: Send SIGINT when this is shown.
        environment: Further variables.
    """
    pid, fd = pty.fork()
    if pid == 0:
        variables = {"TERM": "xterm", **clean_environment(scratch, environment), "PYTHONWARNINGS": "ignore"}
        os.execve(sys.executable, [sys.executable, "-m", "hub.cli", *arguments], variables)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    waiting = list(answers)
    shown = typed = ""
    deadline = time.monotonic() + 60
    try:
        while True:
            if not select.select([fd], [], [], _REPEAT_S)[0]:
                assert time.monotonic() < deadline, f"it goes on after:\n{shown}"
                if typed == _CTRL_C:
                    os.write(fd, _CTRL_C.encode())
                continue
            try:
                data = os.read(fd, 65536)
            except OSError:  # how a terminal says that nobody is there any more
                break
            shown += data.decode(errors="replace")
            if waiting and waiting[0][0] in shown:
                typed = waiting.pop(0)[1]
                os.write(fd, typed.encode())
            if interrupt_at and interrupt_at in shown:
                os.kill(pid, signal.SIGINT)
                interrupt_at = ""
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(fd)
    return OnTerminal(shown, os.waitstatus_to_exitcode(status))
