"""A runner with what it needs, and small servers for it."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hub.instance import Instance, InstanceSpec, Kind, LocalRunner
from hub.instance.ports import PortAllocator
from hub.workers import Workers

# Answers GET /2xx and POST /gc with 200, POST /mute never, all else with 500; `stubborn` ignores SIGTERM.
SERVER = """
import signal, socket, sys
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("serving", flush=True)
kept = []
while True:
    connection, _ = listener.accept()
    line = connection.recv(4096).split(b"\\r\\n")[0]
    if b"/mute" in line:
        kept.append(connection)
        continue
    good = line.startswith((b"POST /gc ", b"GET /ok "))
    try:
        connection.sendall(b"HTTP/1.1 %d X\\r\\nContent-Length: 0\\r\\n\\r\\n" % (200 if good else 500))
    except OSError:
        pass
    connection.close()
"""
PYTHON = [sys.executable, "-I", "-S", "-c"]


def server(*arguments: str, text: str = SERVER, **fields: Any) -> Kind:
    # A probe by log, since the server takes one connection at a time and a TCP probe is a connection.
    given: dict[str, Any] = {"ready": "log:serving", "stop_timeout": 5, **fields}
    return Kind("server", command=[*PYTHON, text.replace("{", "{{").replace("}", "}}"), "{port}", *arguments], **given)


def script(text: str, *arguments: str, **fields: Any) -> Kind:
    given: dict[str, Any] = {"start_timeout": 20, **fields}
    return Kind("script", command=["sh", "-c", text, "sh", *arguments], **given)


class Bench:
    """A runner with what it needs, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder
        self.ports = PortAllocator(None)
        self.workers = Workers()
        self.runner = LocalRunner("test-hub", self.ports, self.workers, folder)
        self.exits: list[Instance] = []
        self.exited = asyncio.Event()

    def on_exit(self, instance: Instance) -> None:
        self.exits.append(instance)
        self.exited.set()

    async def start(self, kind: Kind, port: int | None = None) -> Instance:
        spec = InstanceSpec("tenant-42", kind, self.data_dir, self.folder / "log", epoch=7, port=port)
        return await self.runner.start(spec, self.on_exit)


Scenario = Callable[[Bench], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]
