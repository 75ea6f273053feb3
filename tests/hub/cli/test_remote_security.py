"""Tokens and TLS, from making them to being let in."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.cli.remote.place import find_place
from tests.hub.cli.serving import Served, modhub, served
from tests.hub.http_server.rig import make_certificate

ROLES = ("read", "operate", "obliterate")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    certificate, key = make_certificate(folder, "localhost")
    lines = f'[http]\nhost = "0.0.0.0"\ntls_cert = "{certificate}"\ntls_key = "{key}"\nallowed_hosts = ["*"]\n'
    for role in ROLES:
        made = modhub(folder, "token", f"the-{role}", "--role", role)
        assert made.returncode == 0
        (folder / f"{role}.token").write_text(made.stdout)
        assert made.stdout.strip() not in made.stderr
        lines += made.stderr
    with served(folder, config=lines) as running:
        running.url = running.url.replace("0.0.0.0", "localhost")
        yield running


def as_role(hub: Served, role: str) -> dict[str, str]:
    return {"MODHUB_TOKEN_FILE": str(hub.folder / f"{role}.token"), "MODHUB_CA_FILE": str(hub.folder / "localhost.pem")}


def test_a_token_opens_what_its_role_may(hub: Served) -> None:
    """Each role may do what those before it may, and no more: exit code 2, and the hint of the hub."""
    assert hub.cli("status", **as_role(hub, "read")).returncode == 0
    refused = hub.cli("provision", "alpha", **as_role(hub, "read"))
    assert refused.returncode == 2, refused.stderr
    assert hub.cli("provision", "alpha", **as_role(hub, "operate")).returncode == 0
    assert hub.cli("obliterate", "alpha", "--yes", **as_role(hub, "operate")).returncode == 2
    assert hub.cli("obliterate", "alpha", "--yes", **as_role(hub, "obliterate")).returncode == 0
    assert "the-operate" in hub.log


def test_a_token_as_json(tmp_path: Path) -> None:
    """What a script needs is one object; nothing is left to be read from stderr."""
    made = modhub(tmp_path, "token", "ci", "--role", "operate", "--json")
    assert (made.returncode, made.stderr) == (0, "")
    told = json.loads(made.stdout)
    assert (told["name"], told["role"]) == ("ci", "operate")
    assert told["sha256"] == hashlib.sha256(told["token"].encode()).hexdigest()


def test_who_has_no_token_or_a_wrong_one_is_refused(hub: Served) -> None:
    """The token comes from a variable too; the error names no token."""
    trusted = {"MODHUB_CA_FILE": str(hub.folder / "localhost.pem")}
    assert hub.cli("status", **trusted).returncode == 2
    wrong = hub.cli("status", MODHUB_TOKEN="modhub_wrong", **trusted)
    assert wrong.returncode == 2
    assert "modhub_wrong" not in wrong.stderr + hub.log
    right = (hub.folder / "read.token").read_text().strip()
    assert hub.cli("status", MODHUB_TOKEN=right, **trusted).returncode == 0
    assert right not in hub.log


def test_a_certificate_that_nobody_knows_is_not_trusted(hub: Served) -> None:
    """Without --ca-file the token is not sent, and the hint names it."""
    token = {"MODHUB_TOKEN_FILE": str(hub.folder / "read.token")}
    done = hub.cli("status", **token)
    assert done.returncode == 1
    assert "--ca-file" in done.stderr


def test_an_environment_of_clients_disturbs_no_hub(hub: Served) -> None:
    """A shell that asks one hub can check the configuration of another."""
    assert modhub(hub.folder, "doctor", MODHUB_URL="http://x", MODHUB_TOKEN="t").returncode == 0


@pytest.mark.parametrize(
    ("url", "open_"),
    [
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
        ("http://localhost", False),
        ("https://hub.example", False),
        ("http://hub.example", True),
        ("http://192.168.0.1", True),
    ],
)
def test_a_token_over_a_plain_network_is_known(url: str, open_: bool) -> None:
    """Whoever sends it there is warned."""
    assert find_place(url, None, None, {"MODHUB_TOKEN": "t"}).is_open_to_listeners is open_
    assert not find_place(url, None, None, {}).is_open_to_listeners


def test_a_token_is_kept_out_of_texts(tmp_path: Path) -> None:
    """Neither the place's text nor what is wrong with a file shows it."""
    file = tmp_path / "t"
    file.write_text("s3cret\n")
    place = find_place(None, file, None, {"MODHUB_TOKEN": "other"})
    assert place.token == "s3cret"
    assert "s3cret" not in repr(place)
    assert stat.S_ISREG(file.stat().st_mode)
