"""Real S3 servers, each started once for the whole run by the first test that wants it."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.s3_servers import Server, ministack, seaweedfs

# No example has a deadline: how long one takes says more of the machine than of the code.
settings.register_profile("modhub", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("modhub")
# For a night: `pytest --hypothesis-profile=thorough`.
settings.register_profile("thorough", settings.get_profile("modhub"), max_examples=1000)

# A script ignores Ctrl-C for what it starts in the background, and all that this starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3_directory() -> Iterator[Path]:
    """Where servers keep their data: in memory where that is possible."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="modhub-s3-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def seaweedfs_server(s3_directory: Path) -> Iterator[Server]:
    """SeaweedFS: a server that is run in production."""
    with seaweedfs(s3_directory / "seaweedfs") as server:
        yield server


@pytest.fixture(scope="session")
def ministack_server(s3_directory: Path) -> Iterator[Server]:
    """ministack: an independent implementation."""
    with ministack(s3_directory / "ministack") as server:
        yield server


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch, seaweedfs_server: Server) -> None:
    """The environment that boto3 finds the servers' credentials in; they are the same for all of them."""
    for name, value in seaweedfs_server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def s3_uri(seaweedfs_server: Server, s3_credentials: None) -> str:
    """A prefix of its own for each test, on SeaweedFS."""
    return seaweedfs_server.uri(f"test-{next(_numbers)}")


@pytest.fixture
def new_prefix() -> Callable[[], str]:
    """Prefixes that no other test of this run has."""
    return lambda: f"test-{next(_numbers)}"
