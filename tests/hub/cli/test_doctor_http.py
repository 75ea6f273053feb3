"""What the doctor says of `[http]`."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.hub.cli.serving import called
from tests.hub.http_server.rig import make_certificate

TOKEN = '[[http.tokens]]\nname = "ci"\nrole = "read"\nsha256 = "' + "a" * 64 + '"\n'


@pytest.fixture
def find(tmp_path: Path) -> Any:
    def run(lines: str, mode: int = 0o600) -> dict[str, tuple[str, str]]:
        file = tmp_path / "modhub.toml"
        file.write_text(f'data_dir = "{tmp_path}/d"\nbackend = "file://{tmp_path}/b"\n{lines}')
        file.chmod(mode)
        found = json.loads(called("doctor", "--config", str(file), "--json").stdout)["findings"]
        return {f["check"]: (f["status"], f["message"] + f["advice"]) for f in found if f["section"] == "http"}

    return run


def test_a_free_address_without_tokens_is_fine(find: Any) -> None:
    """Nothing is configured, and nothing is to be said."""
    found = find("[http]\nport = 0\n")
    assert {status for status, _ in found.values()} == {"ok"}
    assert "only this machine" in found["http tokens"][1]


def test_what_cannot_be_used_is_told(find: Any) -> None:
    """A key that does not exist fails, by its name."""
    assert find("[http]\nprot = 0\n")["http"][0] == "fail"


def test_a_port_that_is_taken_is_told(find: Any) -> None:
    """It may be the hub's own, so it is a warning."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, text = find(f"[http]\nport = {taken.getsockname()[1]}\n")["http address"]
    assert status == "warn"
    assert "can't be had" in text


def test_tokens_are_counted_and_their_file_is_looked_at(find: Any) -> None:
    """Whoever may write the file could add a token of their own; over a plain network the tokens can be read."""
    found = find('[http]\nport = 0\nhost = "0.0.0.0"\n' + TOKEN, mode=0o666)
    assert found["http tokens"] == ("ok", "1 read")
    assert found["http config"][0] == "warn"
    assert found["http tls"][0] == "warn"


@pytest.mark.parametrize(("days", "status"), [(90, "ok"), (5, "warn")])
def test_a_certificate_is_looked_at(find: Any, tmp_path: Path, days: int, status: str) -> None:
    """It fits its key, and does not end soon; its key is its own user's."""
    certificate, key = make_certificate(tmp_path, "one", days=days)
    key.chmod(0o644)
    found = find(f'[http]\nport = 0\ntls_cert = "{certificate}"\ntls_key = "{key}"\n')
    assert found["http tls"][0] == status, found
    assert found["http tls key"][0] == "warn"
    key.chmod(0o600)
    assert "http tls key" not in find(f'[http]\nport = 0\ntls_cert = "{certificate}"\ntls_key = "{key}"\n')


def test_a_certificate_of_another_key_fails(find: Any, tmp_path: Path) -> None:
    """What could not be served is told before it is tried."""
    certificate, _ = make_certificate(tmp_path, "one")
    _, key = make_certificate(tmp_path, "two")
    assert find(f'[http]\nport = 0\ntls_cert = "{certificate}"\ntls_key = "{key}"\n')["http tls"][0] == "fail"
