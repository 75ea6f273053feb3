"""A request to a warm `store` instance by way of `modhub serve`, beside the same by way of nginx, and a direct one.

python -m tests.bench proxy

Latencies are those of one client on one kept connection, in rounds that take turns; the rate is wrk's with 16.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

ROUNDS = 9
SMALL = 300
LARGE = 10
MIB = 1 << 20
WRK_S = 3

# As its manual recommends for keep-alive to what is behind; nothing is written to disk.
NGINX = """
worker_processes 1;
daemon off;
pid {root}/pid;
error_log stderr crit;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_max_body_size 0;
    keepalive_requests 1000000;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    upstream store {{
        server 127.0.0.1:{store};
        keepalive 32;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location /store/ {{
            proxy_pass http://store/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""


class Client:
    """One kept connection; reads as little as it can, so that it is not what is measured."""

    def __init__(self, port: int, prefix: str) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._prefix = prefix
        self._host = f"Host: 127.0.0.1:{port}"

    def ask(self, method: str, key: str, body: bytes = b"") -> float:
        """Seconds of one request."""
        lines = [f"{method} {self._prefix}/blobs/{key} HTTP/1.1", self._host, "User-Agent: bench", "Accept: */*"]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        request = "\r\n".join([*lines, "", ""]).encode() + body
        started = time.perf_counter()
        self._sock.sendall(request)
        data = self._sock.recv(MIB)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._sock.recv(MIB)
        head = data[:end].lower()
        assert head.startswith(b"http/1.1 2"), head
        _, found, length = head.partition(b"content-length: ")
        left = int(length.partition(b"\r\n")[0]) if found else 0
        left -= len(data) - end - 4
        while left > 0:
            left -= len(self._sock.recv(MIB))
        return time.perf_counter() - started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens on {port}")


@contextlib.contextmanager
def process(*command: str, stop: int = signal.SIGTERM) -> Generator[None]:
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        started.send_signal(stop)
        started.wait(30)


def provision(port: int) -> int:
    """Bring the module up; return the port of its instance."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/hub/modules/m/provision", headers={"Content-Length": "0"})
    found: int = json.loads(connection.getresponse().read())["port"]
    connection.close()
    return found


def medians(ask: Mapping[str, Callable[[], float]], count: int) -> dict[str, float]:
    """Median of each way, of rounds in which they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in ask}
    for _ in range(ROUNDS):
        for name, one in ask.items():
            one()
            taken[name].append(statistics.median(one() for _ in range(count)))
    return {name: statistics.median(values) for name, values in taken.items()}


def show(
    what: str, found: Mapping[str, float], *, unit: str = "us", scale: float = 1e6, more_is_better: bool = False
) -> None:
    figures = ", ".join(f"{name} {value * scale:.0f} {unit}" for name, value in found.items())
    modhub, nginx = found["modhub"], found["nginx"]
    ratio = nginx / modhub if more_is_better else modhub / nginx
    print(f"{what + ':':28} {figures}; modhub costs {ratio:.2f} x nginx", flush=True)


def wrk(url: str) -> float:
    report = subprocess.run(
        ["wrk", "-t1", "-c16", f"-d{WRK_S}", url], capture_output=True, text=True, check=True
    ).stdout
    assert "Non-2xx" not in report, report
    return float(report.partition("Requests/sec:")[2].split()[0])


def main() -> None:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None or shutil.which("wrk") is None:
        sys.exit("nginx or wrk is missing: `make peers` installs them")
    hub_port, nginx_port = free_port(), free_port()
    os.environ["MODHUB_HTTP_PORT"] = str(hub_port)
    with tempfile.TemporaryDirectory(prefix="modhub-bench-") as root, contextlib.ExitStack() as running:
        serve = "-m", "hub.cli", "serve", "--data-dir", f"{root}/data", "--backend", f"file://{root}/backend"
        running.enter_context(process(sys.executable, *serve))
        wait_for(hub_port)
        store = provision(hub_port)
        config = Path(root, "nginx.conf")
        config.write_text(NGINX.format(root=root, store=store, port=nginx_port))
        running.enter_context(process(nginx, "-c", str(config), "-p", root, stop=signal.SIGQUIT))
        wait_for(nginx_port)
        ways = {"direct": (store, ""), "nginx": (nginx_port, "/store"), "modhub": (hub_port, "/hub/proxy/m")}
        clients = {name: Client(*way) for name, way in ways.items()}
        clients["direct"].ask("PUT", "small", b"x" * 100)
        large = os.urandom(MIB)
        clients["direct"].ask("PUT", "large", large)
        show("GET 100 bytes", medians({n: lambda c=c: c.ask("GET", "small") for n, c in clients.items()}, SMALL))  # type: ignore[misc] # bound now
        show("GET 1 MiB", medians({n: lambda c=c: c.ask("GET", "large") for n, c in clients.items()}, LARGE))  # type: ignore[misc] # bound now
        show("PUT 1 MiB", medians({n: lambda c=c: c.ask("PUT", "new", large) for n, c in clients.items()}, LARGE))  # type: ignore[misc] # bound now
        rates = {name: wrk(f"http://127.0.0.1:{port}{prefix}/blobs/small") for name, (port, prefix) in ways.items()}
        show("GET 100 bytes, 16 clients", rates, unit="requests/s", scale=1, more_is_better=True)
