"""The tests' tiny server with bad manners, which its flags name. Some only come while a file is there: `--while FILE`.

At its start: `--daemon` leaves a process in a session of its own, `--dies` takes the port and ends before it listens.
While it serves: `--flood` writes to its output without end, `--litter` leaves closed directories, odd names and links, and
SIGUSR1 makes it close its port and live on, SIGUSR2 fill its disk.
"""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

TINY, PORT, DIRECTORY, SWITCH = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
FLAGS = sys.argv[5:] if SWITCH.exists() else []


def ignore() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def close_port(number: int, frame: object) -> None:
    served["listener"].close()
    while True:
        time.sleep(3600)


def fill_disk(number: int, frame: object) -> None:
    with (DIRECTORY / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            return


def flood() -> None:
    while True:
        os.write(1, b"all is well " * 1000 + b"\n")
        time.sleep(0.001)


if "--daemon" in FLAGS and os.fork() == 0:
    os.setsid()
    ignore()
    time.sleep(3600)
if "--dies" in FLAGS:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", PORT))
        time.sleep(0.05)
        os._exit(5)
if "--litter" in FLAGS:
    closed = DIRECTORY / "tmp" / "closed"
    closed.mkdir(parents=True, exist_ok=True)
    (closed / "core").write_bytes(bytes(100_000))
    for odd in ("new\nline", "-rf", "tmp*", "\udcff"):
        (DIRECTORY / "tmp" / odd).write_text("left")
    if not (DIRECTORY / "tmp" / "up").is_symlink():
        (DIRECTORY / "tmp" / "up").symlink_to("../..")
    closed.chmod(0)
if "--flood" in FLAGS:
    threading.Thread(target=flood, daemon=True).start()
signal.signal(signal.SIGUSR1, close_port)
signal.signal(signal.SIGUSR2, fill_disk)

served: dict[str, Any] = {"__name__": "__main__"}
sys.argv = [TINY, str(PORT), str(DIRECTORY), *FLAGS]
exec(compile(Path(TINY).read_text(), TINY, "exec"), served)
