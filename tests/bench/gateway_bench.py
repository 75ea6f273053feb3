"""The TCP gateway beside a direct connection and HAProxy in TCP mode; and a wake on connect beside a bare start.

python -m tests.bench gateway
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from hub.instance.kind import render
from hub.instance.ports import LOOPBACK
from hub.kinds import REDIS
from tests.bench.hub_bench import directory, free_port, quiet, wait_redis

ROUNDS = 5
BULK_MIB = 512
PINGS = 1000
CONNECTS = 300
WAKES = 41
MIB = 1 << 20

# What its manual recommends for bulk over TCP: with buffers of 16 KiB, its default, it is slower.
HAPROXY = """
global
    maxconn 4096
    tune.bufsize {bufsize}
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    {option}
listen sink
    bind 127.0.0.1:{sink}
    server one 127.0.0.1:{sink_server}
listen redis
    bind 127.0.0.1:{redis}
    server one 127.0.0.1:{redis_server}
"""

Ports = Mapping[str, int]


class Host:
    """The process that runs the hub."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.gateway_host", root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def ask(self, words: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def haproxy(root: Path, name: str, servers: Ports, option: str, bufsize: int) -> Generator[Ports]:
    ports = {"sink": free_port(), "redis": free_port()}
    config = root / f"{name}.cfg"
    text = HAPROXY.format(
        **ports, sink_server=servers["sink"], redis_server=servers["redis"], option=option, bufsize=bufsize
    )
    config.write_text(text)
    process = quiet(["haproxy", "-f", str(config), "-db"], root)
    try:
        wait_redis(ports["redis"])
        yield ports
    finally:
        process.terminate()
        process.wait()


def upload(port: int) -> float:
    """GB/s to the server."""
    data = bytes(MIB)
    with socket.create_connection((LOOPBACK, port)) as connection:
        connection.sendall(b"u\n")
        started = time.perf_counter()
        for _ in range(BULK_MIB):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        assert int(connection.recv(100)) == BULK_MIB * MIB
        return BULK_MIB * MIB / (time.perf_counter() - started) / 1e9


def download(port: int) -> float:
    """GB/s from the server."""
    buffer = bytearray(MIB)
    with socket.create_connection((LOOPBACK, port)) as connection:
        started = time.perf_counter()
        connection.sendall(b"d%d\n" % BULK_MIB)
        count = 0
        while got := connection.recv_into(buffer):
            count += got
        assert count == BULK_MIB * MIB
        return count / (time.perf_counter() - started) / 1e9


def ping(port: int) -> float:
    """Microseconds of a round trip on a connection that is open already."""
    taken: list[float] = []
    with socket.create_connection((LOOPBACK, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(PINGS):
            started = time.perf_counter()
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
            taken.append((time.perf_counter() - started) * 1e6)
    return statistics.median(taken)


def connects(port: int) -> float:
    """Connections a second, one after the other: connect, PING, PONG, close."""
    started = time.perf_counter()
    for _ in range(CONNECTS):
        with socket.create_connection((LOOPBACK, port)) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
    return CONNECTS / (time.perf_counter() - started)


def compare(title: str, unit: str, measure: Callable[[int], float], ways: Mapping[str, int]) -> None:
    """Measure all ways in turns, so that what else the machine does falls on all of them."""
    rounds = [{name: measure(port) for name, port in ways.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(found[name] for found in rounds) for name in ways}
    for name, value in medians.items():
        print(f"{title:10} {name:22} {value:10.2f} {unit:6} {value / medians['direct']:6.2f} x direct")
    peers = {name: value for name, value in medians.items() if name.startswith("haproxy")}
    best = (min if unit == "us" else max)(peers, key=lambda name: peers[name])
    print(f"{title:10} gateway / best {best}: {medians['gateway'] / peers[best]:.2f}")


def bare_start(data: Path) -> float:
    port = free_port()
    command = render(REDIS.command, port=port, data_dir=str(data), module_id="bare", checkpoint_dir=str(data))
    started = time.perf_counter()
    process = quiet(command, data)
    wait_redis(port)
    elapsed = time.perf_counter() - started
    process.send_signal(signal.SIGTERM)
    process.wait()
    return elapsed


def wake(port: int) -> float:
    started = time.perf_counter()
    with socket.create_connection((LOOPBACK, port)) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PONG\r\n"
    return time.perf_counter() - started


def wakes(host: Host, port: int, data: Path) -> None:
    pairs: list[tuple[float, float]] = []
    for _ in range(WAKES):
        host.ask("hibernate redis")
        bare = bare_start(data)
        pairs.append((bare, wake(port)))
    # The lower quartile beside the median: what else the machine does makes a wake later, and never sooner.
    floors, wakings = [bare * 1000 for bare, _ in pairs], [woken * 1000 for _, woken in pairs]
    for name, of in (("median", statistics.median), ("lower quartile", lower_quartile)):
        floor, woken = of(floors), of(wakings)
        print(f"bare redis-server to PONG              {floor:8.1f} ms   (floor, {name} of {WAKES})")
        print(f"connect to PONG of a hibernated redis  {woken:8.1f} ms   {woken / floor:6.2f} x floor, goal <= 1.5")


def lower_quartile(figures: Sequence[float]) -> float:
    return statistics.quantiles(figures, n=4)[0]


def ask_latency(host: Host, port: int) -> None:
    idle = host.ask("asks 2")
    ended = threading.Event()

    def load() -> None:
        while not ended.is_set():
            upload(port)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        busy = host.ask("asks 4")
    finally:
        ended.set()
        thread.join()
    for name, figures in (("idle", idle), ("beside bulk", busy)):
        median, high, longest = figures
        print(f"ask of the hub, {name:12} median {median:6.2f} ms, 99% {high:6.2f} ms, longest {longest:6.2f} ms")


def main() -> None:
    with directory() as root, Host(root) as host:
        sink, sink_gateway, _ = host.ask("provision sink")
        redis, redis_gateway, data = host.ask("provision redis")
        servers = {"sink": sink, "redis": redis}
        with (
            haproxy(root, "default", servers, "", 16384) as default,
            haproxy(root, "splice", servers, "option splice-auto", 16384) as splice,
            haproxy(root, "large", servers, "", 262144) as large,
        ):

            def ways(name: str, gateway: int) -> Mapping[str, int]:
                return {
                    "direct": servers[name],
                    "gateway": gateway,
                    "haproxy": default[name],
                    "haproxy splice-auto": splice[name],
                    "haproxy bufsize 256K": large[name],
                }

            compare("upload", "GB/s", upload, ways("sink", sink_gateway))
            compare("download", "GB/s", download, ways("sink", sink_gateway))
            compare("PING", "us", ping, ways("redis", redis_gateway))
            compare("connect", "/s", connects, ways("redis", redis_gateway))
        ask_latency(host, sink_gateway)
        wakes(host, redis_gateway, Path(data))


if __name__ == "__main__":
    main()
