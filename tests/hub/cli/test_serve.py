"""`modhub serve`: start, signals, the end, and what is told about them."""

from __future__ import annotations

import http.client
import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hub.cli.serve.defaults import default_places
from tests.hub.cli.conftest import clean_environment
from tests.hub.cli.serving import command, modhub, runs, served, until


def test_the_first_line_says_where_it_is_and_where_the_data_is(tmp_path: Path) -> None:
    """Whoever reads one line of the log knows the URL with the port that was chosen, and the places."""
    with served(tmp_path) as hub:
        assert hub.first["event"] == "http.starting"
        assert urlsplit(hub.url).port
        assert hub.first["data_dir"] == f"{tmp_path}/data"
        assert hub.first["backend"] == f"file://{tmp_path}/backend"
        assert hub.get("/health") == b"OK!"


def test_json_is_asked_for_as_of_every_command(tmp_path: Path) -> None:
    """`--json` makes the log JSON lines, whatever else is asked for or the output is."""
    with served(tmp_path, "--log-format", "console", "--json") as hub:
        assert hub.first["event"] == "http.starting"


def test_a_signal_ends_it_in_good_order(tmp_path: Path) -> None:
    """SIGTERM: modules sleep, nothing runs any more, the exit code is 0, and the next start knows them."""
    with served(tmp_path) as hub:
        module = hub.json("provision", "alpha")["outcomes"][0]["module"]
        assert runs(module["pid"])
        assert hub.end(signal.SIGTERM) == 0
        assert not runs(module["pid"])
        names = [event["event"] for event in hub.events()]
        assert names.index("http.stopping") < names.index("http.closed") < names.index("hub.stopped")
        assert names[-1] == "hub.stopped"
    with served(tmp_path) as again:
        assert again.json("status", "alpha")["state"] == "hibernated"
        assert again.end(signal.SIGINT) == 0


def test_a_refused_websocket_is_no_error_of_the_server(tmp_path: Path) -> None:
    """It is answered and logged as refused; the server's own word for that would look like a defect."""
    head = (
        "GET /hub/proxy/alpha/ HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with served(tmp_path) as hub:
        with socket.create_connection(("127.0.0.1", urlsplit(hub.url).port or 0), timeout=10) as client:
            client.sendall(head.encode())
            assert client.recv(65536).startswith(b"HTTP/1.1 403")
        assert hub.end() == 0
        events = hub.events()
        assert "http.refused" in [event["event"] for event in events]
        assert not [event for event in events if "uvicorn" in event.get("logger", "")]


def test_modules_are_sent_home_when_the_hub_ends(tmp_path: Path) -> None:
    """`on_exit = "deprovision"` leaves no local data."""
    with served(tmp_path, config='on_exit = "deprovision"\n') as hub:
        data = Path(hub.json("provision", "alpha")["outcomes"][0]["module"]["data_dir"])
        assert data.is_dir()
        assert hub.end() == 0
        assert not data.exists()


def test_modules_are_left_and_found_again(tmp_path: Path) -> None:
    """`on_exit = "leave"` lets servers run, and the next start adopts them: the same process, never stopped."""
    with served(tmp_path, config='on_exit = "leave"\n') as hub:
        pid = hub.json("provision", "alpha")["outcomes"][0]["module"]["pid"]
        assert hub.end() == 0
        assert runs(pid)
    with served(tmp_path, config='on_exit = "deprovision"\n') as again:
        assert again.json("status", "alpha")["pid"] == pid
        assert again.end() == 0
        assert not runs(pid)


def slow_kind(folder: Path) -> str:
    """A kind whose start takes until a file is there."""
    script = folder / "slow.sh"
    script.write_text(
        f"until [ -e {folder}/go ]; do sleep 0.02; done\nexec python3 -m http.server --bind 127.0.0.1 $1\n"
    )
    return f'[kinds.slow]\ncommand = ["/bin/sh", "{script}", "{{port}}"]\nstart_timeout = 30\n'


def test_a_request_in_flight_finishes(tmp_path: Path) -> None:
    """A request that is at work when the signal comes is answered; a second signal does not hurry it; new ones are refused."""
    with served(tmp_path, config=slow_kind(tmp_path)) as hub:
        parts = urlsplit(hub.url)
        asking = http.client.HTTPConnection(str(parts.hostname), parts.port or 0, timeout=20)
        asking.request("POST", "/hub/modules/alpha/provision", '{"kind": "slow"}', {"Content-Type": "application/json"})
        until(lambda: hub.json("operations")["operations"], "it is at work")
        hub.process.send_signal(signal.SIGTERM)
        until(lambda: hub.told("http.stopping"), "the signal is heard")
        hub.process.send_signal(signal.SIGTERM)
        hub.process.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((str(parts.hostname), parts.port or 0))
        (tmp_path / "go").touch()
        answer = asking.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["state"] == "provisioned"
        asking.close()
        assert hub.process.wait(20) == 0
        assert len(hub.told("http.stopping")) == 1
        assert hub.told("http.closed")[0]["cut_off"] == 0


def test_streams_of_events_end_at_once(tmp_path: Path) -> None:
    """Somebody who follows events does not hold up the end until `drain_timeout`."""
    with served(tmp_path, config="[http]\ndrain_timeout = 15\n") as hub:
        parts = urlsplit(hub.url)
        following = http.client.HTTPConnection(str(parts.hostname), parts.port or 0, timeout=20)
        following.request("GET", "/hub/events")
        stream = following.getresponse()
        until(lambda: stream.readline() == b"event: hello\n", "the stream has begun")
        began = time.monotonic()
        assert hub.end() == 0
        assert time.monotonic() - began < 5
        assert hub.told("http.closed")[0]["cut_off"] == 0
        stream.read()
        following.close()


def test_a_signal_during_the_start_ends_it(tmp_path: Path) -> None:
    """SIGTERM that comes before the hub runs leaves nothing behind, and is no failure."""
    ready, gate = tmp_path / "log", tmp_path / "gate"
    os.mkfifo(gate)
    with ready.open("w") as log:
        process = subprocess.Popen(
            command(
                "serve", "--data-dir", str(tmp_path / "data"), "--backend", f"file://{tmp_path}/backend", "--port", "0"
            ),
            env=clean_environment(tmp_path, {}),
            stderr=log,
        )
    until(lambda: "http.starting" in ready.read_text(), "it starts")
    process.send_signal(signal.SIGTERM)
    # -15 where the signal came before anybody listened for it: nothing was started then.
    assert process.wait(20) in {0, -signal.SIGTERM}
    assert "Traceback" not in ready.read_text()


def test_the_log_is_for_people_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal lines are read by people, elsewhere by programs; Ctrl-C ends it, as does the terminal's end."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command(
            "serve", "--data-dir", str(tmp_path / "data"), "--backend", f"file://{tmp_path}/backend", "--port", "0"
        ),
        env=clean_environment(tmp_path, {"NO_COLOR": "1"}),
        stderr=follower,
        stdin=follower,
        stdout=follower,
    )
    os.close(follower)
    text = b""

    def read() -> None:
        nonlocal text
        with suppress(OSError):
            while chunk := os.read(leader, 4096):
                text += chunk

    reading = threading.Thread(target=read)
    reading.start()
    until(lambda: b"http.listening" in text, "it listens")
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0
    reading.join()
    os.close(leader)
    assert b'{"event"' not in text
    assert b"url=http://127.0.0.1:" in text


def test_a_hangup_does_not_end_a_service(tmp_path: Path) -> None:
    """Without a terminal SIGHUP means to read again what can be; without TLS there is nothing."""
    with served(tmp_path) as hub:
        hub.process.send_signal(signal.SIGHUP)
        assert hub.get("/health") == b"OK!"
        assert hub.end() == 0


@pytest.mark.parametrize(
    ("arguments", "config", "said"),
    [
        (("--host", "0.0.0.0"), "", "modhub token NAME"),
        ((), '[http]\nhsot = "x"\n', "'hsot' is no configuration key"),
        ((), 'backned = "x"\n', "'backned' is no configuration key"),
        ((), '[[http.tokens]]\nname = "a"\nrole = "read"\ntoken = "secret-word"\n', "plain text"),
        ((), '[http]\ntls_cert = "/nowhere"\n', "tls_key is missing"),
        ((), '[http]\ntls_cert = "/nowhere"\ntls_key = "/nowhere"\n', "/nowhere"),
        (
            ("--host", "203.0.113.7"),
            '[[http.tokens]]\nname="a"\nrole="read"\nsha256="' + "a" * 64 + '"\n',
            "can't be had",
        ),
    ],
    ids=["open", "key", "hub-key", "plain-token", "half-tls", "no-tls-file", "address"],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], config: str, said: str
) -> None:
    """Exit code 2, one line and a hint; no directory was made."""
    file = tmp_path / "modhub.toml"
    file.write_text(f'data_dir = "{tmp_path}/data"\nbackend = "file://{tmp_path}/backend"\n{config}')
    done = modhub(tmp_path, "serve", "--config", str(file), "--port", "0", *arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "secret-word" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """A second server on a port says so, before it touches the data."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = modhub(
            tmp_path, "serve", "--data-dir", str(tmp_path / "d"), "--backend", "file:///x", "--port", str(port)
        )
    assert done.returncode == 2
    assert f"port {port} can't be had" in done.stderr
    assert "--port" in done.stderr or "port" in done.stderr.partition("hint:")[2]
    assert not (tmp_path / "d").exists()


def test_without_a_configuration_there_are_places() -> None:
    """Root's are those of a service, others' those of the XDG specification; both parts beside each other."""
    assert default_places({}, root=True) == {
        "data_dir": "/var/lib/modhub/data",
        "backend": "file:///var/lib/modhub/backend",
    }
    assert default_places({"XDG_STATE_HOME": "/s"}, root=False)["data_dir"] == "/s/modhub/data"
    relative = default_places({"XDG_STATE_HOME": "s"}, root=False)["data_dir"]
    assert relative.endswith("/.local/state/modhub/data")


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    """`host = "unix:..."` needs no token; the socket is its group's, and gone afterwards; a stale one is replaced."""
    path = tmp_path / "hub.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with served(tmp_path, "--host", f"unix:{path}") as hub:
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /hub/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert hub.end() == 0
    assert not path.exists()
