"""The embedded store: how long a start takes beside the bare interpreter's, and how many small requests it serves."""

import http.client
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.hub.kinds.store_process import Store

STARTS = 30
REQUESTS = 1000
CLIENTS = 8


def median_ms(samples: list[float]) -> str:
    return f"median {statistics.median(samples) * 1000:.1f} ms, best {min(samples) * 1000:.1f} ms"


def bare_start() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-S", "-E", "-c", "pass"], check=True)
    return time.perf_counter() - started


def store_start(data_dir: Path) -> tuple[float, float]:
    """Seconds from start to the answer of /health, and from SIGTERM to the exit."""
    started = time.perf_counter()
    with Store(data_dir) as store:
        store.request("GET", "/health")
        answered = time.perf_counter()
        store.terminate()
        return answered - started, time.perf_counter() - answered


def rate(store: Store, method: str, clients: int) -> float:
    def work(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", store.port)
        for number in range(REQUESTS // clients):
            connection.request(method, f"/blobs/{client}/{number}", bytes(1024) if method == "PUT" else None)
            connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return REQUESTS / (time.perf_counter() - started)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(f"python -I -S -E -c pass, start to exit: {median_ms([bare_start() for _ in range(STARTS)])}")
        new = [store_start(Path(folder, f"new-{number}")) for number in range(STARTS)]
        print(f"store, new data, start to answer:       {median_ms([start for start, _ in new])}")
        old = [store_start(Path(folder, "new-0")) for _ in range(STARTS)]
        print(f"store, its own data, start to answer:   {median_ms([start for start, _ in old])}")
        print(f"store, SIGTERM to exit:                 {median_ms([stop for _, stop in new + old])}")
        with Store(Path(folder, "rates")) as store:
            for method in ("PUT", "GET"):
                rates = ", ".join(f"{rate(store, method, clients):.0f}/s by {clients}" for clients in (1, CLIENTS))
                print(f"{method} of 1 KiB, each PUT synced: {rates} client(s)")
