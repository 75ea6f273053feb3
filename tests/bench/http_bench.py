"""A page of 100 of 10,000 modules over HTTP against the same framework's smallest handler: the ratio is what the hub costs.

python -m tests.bench.http_bench

Both are served by one server in one process, and asked by the same client over kept connections, in turn, so that what
else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from hub import AsyncHub, Hub, State
from hub.http import create_app
from hub.journal import Journal
from hub.record import ModuleRecord
from tests.hub.http.serving import listener

SLEEPERS = 10_000
ROUNDS = 30
REQUESTS = 40
QUERIES = {
    "by id": "/hub/status?limit=100",
    "last page": "/hub/status?limit=100&offset=9900",
    "by idle time": "/hub/status?limit=100&sort=-idle_s",
    "searched": "/hub/status?limit=100&search=99",
    "asleep": "/hub/status?limit=100&state=hibernated",
}


def minimal() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def ok() -> dict[str, bool]:
        return {"ok": True}

    return app


def sleepers(root: Path) -> None:
    """Write a journal in which 10,000 modules are hibernated."""
    with Hub(root / "data", f"file://{root}/backend"):
        pass  # makes the directory and the hub's own row
    journal = Journal(root / "data" / "journal.sqlite3")
    journal.open()
    records = [
        ModuleRecord(f"tenant-{number}", "store", State.HIBERNATED, dirty=True, since=time.time())
        for number in range(SLEEPERS)
    ]
    asyncio.run(journal.write(*records))
    journal.close()


def ask(port: int, path: str) -> float:
    """Seconds for one request of several on a kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    began = time.perf_counter()
    for _ in range(REQUESTS):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
    taken = (time.perf_counter() - began) / REQUESTS
    connection.close()
    return taken


def wrk(port: int, path: str) -> float | None:
    """Requests per second by wrk, where it is installed."""
    command = ["wrk", "-t1", "-c8", "-d3s", f"http://127.0.0.1:{port}{path}"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        return None
    line = next(line for line in text.splitlines() if line.startswith("Requests/sec:"))
    return float(line.split()[1])


SERVER = """
import sys
sys.path.insert(0, {here!r})
from tests.bench.http_bench import serve
serve({root!r})
"""


def serve(root: str) -> None:
    """Serve both in a process of its own, until its input ends: the client must not share its interpreter."""
    asyncio.run(_serve(root))


async def _serve(root: str) -> None:
    # On one loop, as `modhub serve` does.
    options = {"idle_timeout": 3600.0, "hibernated_timeout": 3600.0}
    async with AsyncHub(f"{root}/data", f"file://{root}/backend", **options) as hub:  # type: ignore[arg-type] # of HubOptions
        listening = [listener(), listener()]
        servers = [
            uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, http="httptools"))
            for app in (create_app(hub), minimal())
        ]
        print(*(bound.getsockname()[1] for bound in listening), flush=True)
        async with asyncio.TaskGroup() as group:
            for server, bound in zip(servers, listening, strict=True):
                group.create_task(server.serve(sockets=[bound]))
            await asyncio.to_thread(sys.stdin.read)
            for server in servers:
                server.should_exit = True


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="modhub-bench-") as folder:
        root = Path(folder)
        sleepers(root)
        command = [sys.executable, "-c", SERVER.format(here=str(Path.cwd()), root=str(root))]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            port, floor_port = map(int, process.stdout.readline().split())
            measure(port, floor_port)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def measure(port: int, floor_port: int) -> None:
    rounds = [(ask(floor_port, "/"), *(ask(port, path) for path in QUERIES.values())) for _ in range(ROUNDS)]
    floor, *pages = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"smallest handler               {floor * 1e6:8.0f} us   (floor, median of {ROUNDS} x {REQUESTS} requests)")
    for name, taken in zip(QUERIES, pages, strict=True):
        goal = ", goal <= 10" if name == "by id" else ""
        print(f"status, 100 of {SLEEPERS}, {name:<12}{taken * 1e6:8.0f} us   {taken / floor:6.2f} x floor{goal}")
    floor_rate, rate = wrk(floor_port, "/"), wrk(port, QUERIES["by id"])
    if floor_rate and rate:
        print(
            f"by wrk, 8 connections          {rate:8.0f} /s of {floor_rate:.0f} /s, {floor_rate / rate:6.2f} x floor, goal <= 10"
        )


if __name__ == "__main__":
    main()
