"""What is installed by an extra only."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from hub.errors import ModhubError

_OF_HTTP = frozenset(
    {"fastapi", "httptools", "prometheus_client", "rich", "starlette", "urllib3", "uvicorn", "websockets"}
)


@contextmanager
def extra_http() -> Generator[None]:
    """Import within the block what the extra `http` brings, and say so where it is missing.

    Raises:
        ModhubError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _OF_HTTP:
            raise
        raise ModhubError(f"this needs {missing}, which is not installed", hint="pip install 'modhub[http]'") from error
