"""How servers are addressed, who modhub is to them, and what is left behind."""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from backends import BackendDenied, BackendMisconfigured, BackendUnavailable, Closeable, open_store
from backends.s3 import client
from backends.s3.options import Settings
from tests.backends.conftest import Clock
from tests.backends.s3.real import hooked
from tests.backends.s3.scripted import DONE, Scripted
from tests.s3_servers import ACCESS_KEY, SECRET_KEY, Server, ministack


@pytest.fixture
def local_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names below localhost are this machine, as some resolvers have it and others do not."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith(".localhost") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("addressing", "start"), [("path", "http://localhost:{}/demo"), ("virtual", "http://demo.localhost:{}/")]
)
@pytest.mark.parametrize("kind", ["seaweedfs", "ministack"])
@pytest.mark.usefixtures("local_names", "s3_credentials")
def test_addressing(
    request: pytest.FixtureRequest, new_prefix: Callable[[], str], kind: str, addressing: str, start: str
) -> None:
    """The bucket is named in the path or in the host, and servers find it either way."""
    server: Server = request.getfixturevalue(f"{kind}_server")
    port, prefix = server.endpoint.rpartition(":")[2], new_prefix()
    uri = f"s3://demo/{prefix}?endpoint=http://localhost:{port}&region=us-east-1&addressing={addressing}"
    store = open_store(uri)
    urls: list[str] = []

    def look(request: AWSPreparedRequest, **_: object) -> None:
        urls.append(request.url)

    hooked(store, "before-send.s3", look)
    etag = store.put("m/a", b"1")
    assert store.get("m/a") == (b"1", etag)
    assert [info.key for info in store.list("m/")] == ["m/a"]
    assert open_store(server.uri(prefix)).get("m/a") == (b"1", etag)
    assert len(urls) == 3
    assert all(url.startswith(start.format(port)) for url in urls)


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A profile whose credentials come from a program; its output, and its record of calls."""
    output, calls = tmp_path / "output", tmp_path / "calls"
    program = tmp_path / "credentials"
    program.write_text(f"#!/bin/sh\necho call >> {calls}\ncat {output}\n")
    program.chmod(0o700)
    (tmp_path / "config").write_text(f"[profile ops]\ncredential_process = {program}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return output, calls


def credentials(key: str, secret: str, minutes: int) -> str:
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415  # next to its only use

    expiration = datetime.now(UTC) + timedelta(minutes=minutes)
    return json.dumps(
        {"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret, "Expiration": expiration.isoformat()}
    )


def test_credentials_are_refreshed(s3_uri: str, profile: tuple[Path, Path]) -> None:
    """Credentials that expire soon are asked for again while the store goes on, and new ones are used at once."""
    output, calls = profile
    store = open_store(s3_uri, profile="ops")
    output.write_text(credentials(ACCESS_KEY, SECRET_KEY, 1))
    for _ in range(3):
        store.put("m/a", b"1")
    before = calls.read_text().count("call")
    assert before >= 3
    output.write_text(credentials(ACCESS_KEY, "hunter2", 60))
    with pytest.raises(BackendDenied) as caught:
        store.put("m/a", b"1")
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"
    # Those last for an hour, so nothing is asked for again.
    with pytest.raises(BackendDenied):
        store.put("m/a", b"1")
    assert calls.read_text().count("call") <= before + 2


def test_credentials_that_can_not_be_had(s3_uri: str, profile: tuple[Path, Path], clock: Clock) -> None:
    """A program that fails may work again later; nothing that it wrote is repeated."""
    output, _ = profile
    output.write_text('{"Version": 1, "SecretAccessKey": "hunter2"')
    with pytest.raises(BackendUnavailable) as caught:
        open_store(s3_uri, profile="ops").check()
    assert "hunter2" not in f"{caught.value}{caught.value.hint}{caught.value.__context__}"
    output.write_text(credentials(ACCESS_KEY, SECRET_KEY, 60))
    open_store(s3_uri, profile="ops").check()


@pytest.mark.usefixtures("profile")
def test_no_credentials(server: Scripted, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials the hint says where they are looked for, and nothing is sent."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(BackendDenied) as caught:
        server.store().check()
    assert "AWS_*" in caught.value.hint
    assert server.requests == []


def test_no_such_profile(server: Scripted, clock: Clock) -> None:
    """A profile that is not there is told with the first request, and is not repeated."""
    with pytest.raises(BackendMisconfigured) as caught:
        server.store(profile="nobody").check()
    assert "profile" in caught.value.hint


def test_wrong_keys(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server's refusals say which half of the key is wrong."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(BackendDenied) as caught:
        open_store(s3_uri).check()
    assert "secret key" in caught.value.hint
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(BackendDenied) as caught:
        open_store(s3_uri).check()
    assert "unknown" in caught.value.hint


@pytest.mark.usefixtures("s3_credentials")
def test_no_such_bucket(seaweedfs_server: Server) -> None:
    """A missing bucket is not created, and is told apart from a missing object."""
    store = open_store(seaweedfs_server.uri("x", bucket="nobody-made-this"))
    for act in (store.check, lambda: store.get("m/a"), lambda: store.put("m/a", b"1"), lambda: store.delete("m/a")):
        with pytest.raises(BackendMisconfigured) as caught:
            act()
        assert "Create the bucket" in caught.value.hint


@pytest.mark.usefixtures("s3_credentials")
def test_a_certificate_that_nobody_trusts(s3_directory: Path, clock: Clock) -> None:
    """A certificate that can't be verified ends it at once: waiting would not make it better, nor going on."""
    with ministack(s3_directory / "tls", tls=True) as server, pytest.raises(BackendMisconfigured) as caught:
        open_store(server.uri("x")).check()
    assert "AWS_CA_BUNDLE" in caught.value.hint
    assert clock.waits == []


def test_tls_to_a_server_without(server: Scripted, clock: Clock) -> None:
    """A server that does not speak TLS is unavailable."""
    with pytest.raises(BackendUnavailable):
        open_store(f"s3://demo?endpoint={server.endpoint.replace('http', 'https')}", region="us-east-1").check()


def test_one_client_for_all_threads(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that begin together share one client."""
    server.then(DONE)
    store = server.store(max_connections=8)
    made: list[object] = []
    make = client.make_client
    began = threading.Barrier(8)

    def counted(settings: Settings) -> object:
        made.append(settings)
        return make(settings)

    monkeypatch.setattr(client, "make_client", counted)

    def put(number: int) -> str:
        if number < 8:
            began.wait()
        return store.put(f"m/{number}", b"x" * 1000)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(put, range(40))) == {'"1"'}
    assert len(made) == 1
    assert sorted(request.path for request in server.requests) == sorted(f"/demo/p/m/{n}" for n in range(40))


def test_a_store_that_was_closed_can_be_used_again(server: Scripted) -> None:
    """Closing ends connections, not the store: also before there were any, and twice."""
    server.then(DONE)
    store = server.store()
    assert isinstance(store, Closeable)
    for key in ("m/a", "m/b"):
        store.close()
        store.close()
        assert store.put(key, b"1") == '"1"'
    assert server.made == ["PUT", "PUT"]


def test_connections_end_with_the_store(server: Scripted) -> None:
    """A store that is dropped, or lives when the program ends, leaves no connection for the collector to complain of."""
    server.then(DONE)
    store = server.store()
    store.put("m/a", b"1")
    del store
    gc.collect()  # a warning would fail this test
    code = (
        "from backends import open_store\n"
        f"store = open_store('s3://demo?endpoint={server.endpoint}&region=us-east-1')\n"
        "store.put('m/a', b'1')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
