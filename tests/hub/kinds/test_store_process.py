import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hub.kinds.objectstore.blobs import BlobStore
from hub.kinds.objectstore.transfer import PIECE, Upload
from hub.kinds.store import store_command
from tests.hub.kinds.store_process import DEADLINE_S, Store, command, read_all, read_until, statuses, wait_for

MIB = 1024 * 1024


def test_acknowledged_put_survives_kill(tmp_path: Path) -> None:
    """Whatever was answered 2xx before a kill -9 is there after a restart, and nothing else; time after time."""
    expected: dict[str, bytes] = {}
    choice = random.Random(42)
    for _ in range(8):
        with Store(tmp_path) as store:
            listed = store.request("GET", "/blobs").json()
            assert {row["key"]: row["size"] for row in listed} == {key: len(value) for key, value in expected.items()}
            for key, value in expected.items():
                assert store.request("GET", f"/blobs/{key}").body == value
            for _ in range(5):
                key = f"k{choice.randrange(6)}"
                if choice.random() < 0.2 and key in expected:
                    assert store.request("DELETE", f"/blobs/{key}").status == 204
                    del expected[key]
                else:
                    value = choice.randbytes(choice.choice([0, 10, 70_000, 600_000]))
                    assert store.request("PUT", f"/blobs/{key}", value).status in {201, 204}
                    expected[key] = value
            store.process.send_signal(signal.SIGKILL)


def test_every_answer_waits_for_the_disk(tmp_path: Path) -> None:
    """The database stays in the mode that syncs each commit, also after an upload in pieces and a sweep."""
    blobs = BlobStore(str(tmp_path))
    database = blobs._db  # pyright: ignore[reportPrivateUsage]
    try:
        for _ in range(2):
            upload = Upload(blobs)
            upload.write(bytes(3 * PIECE))
            blobs.store(upload, b"k")
            blobs.sweep()
            assert database.execute("PRAGMA synchronous").fetchone() == (2,)
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        blobs.close()


def test_kill_during_upload_leaves_the_old_value(tmp_path: Path) -> None:
    """A kill -9 in the middle of a PUT leaves the old value, and the next start removes what had been written."""
    with Store(tmp_path) as store, store.raw() as client:
        store.request("PUT", "/blobs/k", b"old")
        client.sendall(b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + bytes(4 * MIB))
        wait_for(lambda: store.stats()["disk_bytes"] > 2 * MIB)
        store.process.send_signal(signal.SIGKILL)
        store.process.wait()
    with Store(tmp_path) as store:
        assert store.request("GET", "/blobs/k").body == b"old"
        wait_for(lambda: store.stats()["garbage_values"] == 0)
        assert store.request("POST", "/gc").json()["disk_bytes"] < MIB


def test_sigterm_stops_an_idle_store_at_once(store: Store) -> None:
    """Idle, with an idle client, SIGTERM ends it with exit code 0 in well under a second; one file remains."""
    store.request("PUT", "/blobs/k", b"x")
    with store.raw() as idle:
        started = time.monotonic()
        assert store.terminate() == 0
        elapsed = time.monotonic() - started
        assert idle.recv(1) == b""
    # 4 ms on a quiet machine; the bound leaves room for a busy one.
    assert elapsed < 0.5
    assert [path.name for path in store.data_dir.iterdir()] == ["store.db"]
    with Store(store.data_dir) as again:
        assert again.request("GET", "/blobs/k").body == b"x"


def test_sigterm_finishes_what_was_begun(store: Store) -> None:
    """An upload and a download that run at SIGTERM come to their end; newcomers are refused; then it exits with 0."""
    value = os.urandom(16 * MIB)
    store.request("PUT", "/blobs/big", value)
    with store.raw() as upload, store.raw() as download:
        upload.sendall(b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        read_until(upload, b"Continue\r\n\r\n")
        download.sendall(b"GET /blobs/big HTTP/1.1\r\nHost: x\r\n\r\n")
        received = download.recv(1000)
        store.process.send_signal(signal.SIGTERM)
        wait_for(lambda: refused(store.port))
        upload.sendall(b"late")
        answer = read_all(upload)
        assert statuses(answer) == [201]
        assert b"Connection: close\r\n" in answer
        assert (received + read_all(download)).endswith(value)
    assert store.process.wait(DEADLINE_S) == 0
    with Store(store.data_dir) as again:
        assert again.request("GET", "/blobs/k").body == b"late"


def test_sigterm_answers_what_had_arrived(tmp_path: Path) -> None:
    """Requests that were sent before SIGTERM are answered, also on connections that were not accepted yet."""
    with Store(tmp_path) as store, store.raw() as known:
        store.pause()
        with store.raw() as unknown:
            for client in (known, unknown):
                client.sendall(b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
            store.process.send_signal(signal.SIGTERM)
            store.resume()
            assert statuses(read_all(known)) == [201]
            assert statuses(read_all(unknown)) == [204]
        assert store.process.wait(DEADLINE_S) == 0


def test_sigterm_does_not_wait_for_ever(store: Store) -> None:
    """A client that never finishes its request delays the exit by seconds, not for ever."""
    with store.raw() as client:
        client.sendall(b"PUT /blobs/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        read_until(client, b"Continue\r\n\r\n")
        assert store.terminate() == 0


def test_failing_disk_is_an_answer_not_an_end(store: Store) -> None:
    """Where the file system takes no more, a PUT gets a 5xx and changes nothing; reads go on, and so do writes later."""
    store.request("PUT", "/blobs/k", b"old")
    limit = resource.prlimit(store.process.pid, resource.RLIMIT_FSIZE, (MIB, resource.RLIM_INFINITY))
    for size in (MIB, 8 * MIB):
        assert store.request("PUT", "/blobs/k", bytes(size)).status in {500, 507}
    assert store.request("GET", "/blobs/k").body == b"old"
    assert store.request("GET", "/health").status == 200
    resource.prlimit(store.process.pid, resource.RLIMIT_FSIZE, limit)
    assert store.request("PUT", "/blobs/k", bytes(8 * MIB)).status == 204
    store.process.send_signal(signal.SIGKILL)
    with Store(store.data_dir) as again:
        assert again.request("GET", "/blobs/k").body == bytes(8 * MIB)


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
    except ConnectionRefusedError:
        return True
    return False


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_taken_port_is_said(tmp_path: Path) -> None:
    """On a port that someone else listens on, it exits non-zero, says so, and creates nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = run(*command(tmp_path / "data", port))
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "in use" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_unusable_data_is_said(tmp_path: Path) -> None:
    """A data directory that is a file, or holds no database of ours, ends the start with the reason."""
    (tmp_path / "file").write_text("x", encoding="ascii")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "store.db").write_bytes(b"not a database" * 100)
    for name in ("file", "junk"):
        ended = run(*command(tmp_path / name, 0))
        assert ended.returncode == 1
        assert str(tmp_path / name) in ended.stderr
        assert "Traceback" not in ended.stderr


def test_second_process_on_the_same_data_is_refused(store: Store) -> None:
    """Two stores never share data: the second says that it is locked, the first goes on."""
    ended = run(*command(store.data_dir, 0))
    assert ended.returncode == 1
    assert "locked" in ended.stderr
    assert store.request("PUT", "/blobs/k", b"x").status == 201


@pytest.mark.parametrize("arguments", [[], ["--port", "x"], ["--port", "70000"], ["--bogus", "1"]], ids=str)
def test_wrong_usage_is_said(arguments: list[str], tmp_path: Path) -> None:
    """Options that are missing or wrong exit with 2 and the usage."""
    program = store_command()[: store_command().index("--port")]
    data = ["--data-dir", str(tmp_path)] if arguments else []
    ended = run(*program, *data, *arguments)
    assert ended.returncode == 2
    assert "usage:" in ended.stderr


def test_listens_on_loopback_alone(store: Store) -> None:
    """The port is bound to 127.0.0.1 and to no other address."""
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{store.port:04X}")
    ]
    assert listening == [f"0100007F:{store.port:04X}"]


def test_idle_store_does_not_wake_up(store: Store) -> None:
    """Without clients the process sleeps: it uses no processor time at all."""
    store.request("PUT", "/blobs/k", b"x")
    status = Path(f"/proc/{store.process.pid}/status")

    def switches() -> str:
        return status.read_text(encoding="ascii").partition("voluntary_ctxt_switches:")[2].split()[0]

    wait_for(lambda: Path(f"/proc/{store.process.pid}/wchan").exists())
    time.sleep(0.2)  # the last client's end is being handled
    before = switches()
    time.sleep(1.5)  # longer than the tick that runs while somebody is connected
    assert switches() == before


def test_start_imports_little() -> None:
    """None of the modules that make a start slow is imported; a start stays mostly the interpreter's own."""
    folder = Path(store_command()[store_command().index("--port") - 1]).parent.parent
    program = "import sys; sys.path.append(sys.argv[1]); import objectstore.server; print(*sys.modules)"
    ended = run(sys.executable, "-I", "-S", "-E", "-c", program, str(folder))
    loaded = set(ended.stdout.split())
    assert "objectstore.server" in loaded
    heavy = {
        "asyncio",
        "datetime",
        "email",
        "enum",
        "hub",
        "json",
        "pathlib",
        "re",
        "signal",
        "socket",
        "sqlite3",
        "typing",
    }
    assert not loaded & heavy
