"""Runs a command, and tells what it took: time, memory, and what the server saw of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from tests.bench.s3.peers import Command
from tests.s3_servers import Server

_LAUNCH = Path(__file__).parent / "launch.py"
_REQUESTS = "SeaweedFS_s3_request_total{"
_START_S = 60.0
_RECEIVED = "SeaweedFS_s3_bucket_traffic_received_bytes_total{"


@dataclass(frozen=True)
class Traffic:
    """What a server has seen.

    Attributes:
        requests: Answered requests of all kinds.
        puts: Those that were PUT, parts of multipart uploads included.
        received: Bytes of content it was sent.
    """

    requests: int
    puts: int
    received: int

    def __sub__(self, earlier: Traffic) -> Traffic:
        return Traffic(self.requests - earlier.requests, self.puts - earlier.puts, self.received - earlier.received)


@dataclass(frozen=True)
class Measured:
    """What one run of a tool took.

    Attributes:
        seconds: From its start to its end; of modhub, within the running process.
        process: From the process' start to its end.
        peak: The process' largest resident set, in bytes.
        traffic: What the server saw of it.
    """

    seconds: float
    process: float
    peak: int
    traffic: Traffic


def run(command: Command, server: Server, *, inner: bool = False) -> Measured:
    """Run a tool to its end.

    Args:
        command: What to run.
        server: Whose traffic is looked at, and whose credentials are given.
        inner: The command prints the seconds that count.

    Raises:
        RuntimeError: It failed; with the end of its output.
    """
    before = traffic(server)
    with tempfile.TemporaryDirectory() as folder:
        result, output = Path(folder, "result"), Path(folder, "output")
        environment = {"PATH": os.environ["PATH"], "HOME": folder, **server.environment, **command.environment}
        with output.open("wb") as file:
            subprocess.run(
                [sys.executable, "-I", "-S", _LAUNCH, result, *command.argv],
                env=environment,
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=True,
            )
        elapsed, peak, code = result.read_text().split()
        text = output.read_text(errors="replace")
    if code != "0":
        raise RuntimeError(f"{' '.join(command.argv)[:300]} exited with {code}:\n{text[-2000:]}")
    seconds = float(text.split()[-1]) if inner else float(elapsed)
    return Measured(seconds, float(elapsed), int(peak) * 1024, traffic(server) - before)


def traffic(server: Server) -> Traffic:
    """The server's own counters: a proxy that counts would stand in each figure."""
    host, port = server.endpoint.rsplit(":", 1)
    # The admin port, which also shows metrics, and which opens last.
    address = f"{host}:{int(port) + 4}/metrics"
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return parse(answer.read().decode())
        except URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def parse(text: str) -> Traffic:
    """Sum up the counters of all buckets and outcomes, in Prometheus' text format."""
    requests = puts = received = 0
    for line in text.splitlines():
        value = int(float(line.rsplit(" ", 1)[1])) if line.startswith((_REQUESTS, _RECEIVED)) else 0
        if line.startswith(_REQUESTS):
            requests += value
            puts += value if 'type="PUT"' in line else 0
        else:
            received += value
    return Traffic(requests, puts, received)
