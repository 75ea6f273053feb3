from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.backends.s3.real import Real
from tests.backends.s3.scripted import Scripted, scripted
from tests.s3_servers import ACCESS_KEY, SECRET_KEY


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """A scripted server, with credentials for it in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with scripted() as made:
        yield made


@pytest.fixture(params=["seaweedfs", "ministack"])
def real(request: pytest.FixtureRequest, s3_credentials: None, new_prefix: Callable[[], str]) -> Real:
    """A bucket of its own, on each of the two servers."""
    return Real(request.getfixturevalue(f"{request.param}_server"), new_prefix())
