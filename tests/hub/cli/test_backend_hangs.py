"""`modhub backend` on a server that takes connections and never answers."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.cli.conftest import clean_environment

pytestmark = pytest.mark.e2e


def test_ctrl_c_says_what_it_waits_for_and_a_second_one_does_not_wait(scratch: Path) -> None:
    """The first one lets the request end, which takes its whole time-out; who can't wait is told how to leave."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        uri = f"s3://demo/x?endpoint=http://127.0.0.1:{server.getsockname()[1]}&region=us-east-1&addressing=path"
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_EC2_METADATA_DISABLED": "true"}
        with subprocess.Popen(
            [sys.executable, "-m", "hub.cli", "backend", "ls", "--backend", uri],
            env=clean_environment(scratch, keys),
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                connection, _ = server.accept()
                with connection:
                    process.send_signal(signal.SIGINT)
                    assert process.stderr is not None
                    line = process.stderr.readline()
                    assert line == "interrupted; a request is under way: again to leave without waiting for its end\n"
                    process.send_signal(signal.SIGINT)
                    assert process.wait(10) == -signal.SIGINT
            finally:
                process.kill()
