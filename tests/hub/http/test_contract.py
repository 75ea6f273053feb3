"""The API keeps what its description says, whatever is sent: schemathesis against a real hub behind a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub import Hub
from hub.http import HttpConfig, Role, create_app
from tests.hub.conftest import tiny_kind
from tests.hub.http.serving import TOKENS, Served, tokens

# A 5xx is an answer where the description has it: an instance that does not start, a budget, a deadline. A 500 is none.
# A kind that is none is refused, and no description can say which there are.
CONFIGURATION = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 502, 503, 504, 507]

[[operations]]
include-path = "/hub/events"
parameters = { follow = "false" }

[[operations]]
include-operation-id-regex = "provision_module|bulk"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 429, "5xx"]
"""
ALL = "examples,coverage,fuzzing,stateful"
SOME = "examples,fuzzing"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that starts at most three processes at one time, in a folder of its own."""
    folder = tmp_path_factory.mktemp("contract")
    backend = f"file://{folder / 'backend'}"
    with Hub(
        folder / "data", backend, kinds=[tiny_kind()], default_kind="tiny", max_instances=3, retry_delay=0.02
    ) as running:
        running.provision("tenant-42")
        yield running


def check(served: Served, folder: Path, phases: str, examples: int, role: Role | None) -> str:
    """Let schemathesis try the API with all its checks but one; returns what it reports.

    That one takes a deletion for the end of a name. A module is there for a while after `wait=false`, and its events are
    an empty list from then on.
    """
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    header = ["--header", f"Authorization: Bearer {TOKENS[role]}"] if role else []
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json", "--checks", "all"]
    command += ["--exclude-checks", "use_after_free"]
    command += ["--phases", phases, "--max-examples", str(examples), "--generation-deterministic", "--no-color"]
    command += ["--request-timeout", "20", "--continue-on-failure", "--max-failures", "10", *header]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_the_contract_without_tokens(hub: Hub, tmp_path: Path) -> None:
    """All calls, valid and invalid, in sequences too: every answer is one that the description has."""
    served = Served(create_app(hub)).start()
    try:
        report = check(served, tmp_path, ALL, 6, None)
    finally:
        served.stop()
    assert "Tested: 20" in report


@pytest.mark.parametrize("role", [None, *Role], ids=str)
def test_the_contract_with_tokens(hub: Hub, tmp_path: Path, role: Role | None) -> None:
    """The same without a token and with each role's: what it may not do is refused as described, and nothing slips by."""
    served = Served(create_app(hub, HttpConfig(tokens=tokens()))).start()
    try:
        check(served, tmp_path, SOME, 4, role)
    finally:
        served.stop()
