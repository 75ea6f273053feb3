"""Where the HTTP side's configuration comes from, and what is refused of it."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from hub.config_sources import load
from hub.errors import InvalidConfig
from hub.http.config import HttpConfig, Role, Token
from hub.http.config_sources import configure_http, is_local, load_http

DIGEST = hashlib.sha256(b"word").hexdigest()
TOKEN = {"name": "ci", "role": "operate", "sha256": DIGEST}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "modhub.toml"


def test_flags_win_over_environment_over_file_over_defaults(file: Path) -> None:
    """The same order as the hub's own configuration has."""
    file.write_text("[http]\nport = 1\nmax_requests = 1\nmax_streams = 1\n")
    environment = {"MODHUB_HTTP_PORT": "2", "MODHUB_HTTP_MAX_REQUESTS": "2", "MODHUB_IDLE_TIMEOUT": "no number"}
    config = load_http(file, environment, port=3, host=None)
    assert (config.port, config.max_requests, config.max_streams) == (3, 2, 1)
    assert config.host == HttpConfig().host


def test_tokens_are_tables(file: Path) -> None:
    """A token is who holds it, what it may do, and its hash."""
    file.write_text(f'[[http.tokens]]\nname = "ci"\nrole = "operate"\nsha256 = "{DIGEST.upper()}"\n')
    assert load_http(file, {}).tokens == (Token(name="ci", role=Role.OPERATE, sha256=DIGEST),)


@pytest.mark.parametrize("sha256", ["", "...", "00", "z" * 64, DIGEST + "0"])
def test_a_token_in_code_has_a_hash_too(sha256: str) -> None:
    """A host that configures no SHA-256 is told at once, and what it gave is not repeated: it may be the token."""
    with pytest.raises(InvalidConfig, match="token 'ci': sha256 is no SHA-256") as refused:
        Token(name="ci", role=Role.OPERATE, sha256=sha256)
    assert not sha256 or repr(sha256) not in str(refused.value)


def test_structured_variables_are_toml() -> None:
    """Lists and tables can be given in the environment; text stands as it is."""
    config = load_http(
        None,
        {
            "MODHUB_HTTP_HOST": "0.0.0.0",
            "MODHUB_HTTP_TOKENS": f'[{{ name = "ci", role = "read", sha256 = "{DIGEST}" }}]',
            "MODHUB_HTTP_ALLOWED_HOSTS": '["hub.example"]',
            "MODHUB_HTTP_PROXY": "false",
            "MODHUB_HTTP_PROXY_ROLE": "obliterate",
            "MODHUB_HTTP_TLS_CERT": "c.pem",
            "MODHUB_HTTP_TLS_KEY": "/k.pem",
        },
    )
    assert (config.host, config.allowed_hosts, config.proxy) == ("0.0.0.0", ("hub.example",), False)
    assert (config.proxy_role, config.tokens[0].name) == (Role.OBLITERATE, "ci")
    assert (config.tls_cert, config.tls_key) == (Path.cwd() / "c.pem", Path("/k.pem"))


def test_a_hub_ignores_what_is_the_servers_and_the_clients(file: Path, tmp_path: Path) -> None:
    """One file, and one environment, may serve all three."""
    file.write_text(f'data_dir = "{tmp_path}"\nbackend = "file:///x"\n[http]\nport = 1\n')
    environment = {
        "MODHUB_HTTP_PORT": "2",
        "MODHUB_URL": "http://x",
        "MODHUB_TOKEN": "t",
        "MODHUB_TOKEN_FILE": "f",
        "MODHUB_CA_FILE": "c",
    }
    assert load(file, environment).data_dir == tmp_path


def test_the_places_of_last_resort_belong_together(file: Path) -> None:
    """Who names one of both has to name the other: a hub must not mix its data with another one's backend."""
    fallback = {"data_dir": "/d", "backend": "file:///b"}
    assert load(None, {}, fallback=fallback).backend == "file:///b"
    assert load(None, {}, fallback=fallback, data_dir="/e", backend="file:///c").backend == "file:///c"
    with pytest.raises(InvalidConfig, match="'backend' is missing"):
        load(None, {}, fallback=fallback, data_dir="/e")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"hsot": "x"}, "'hsot' is no configuration key"),
        ({"port": 70000}, "0 to 65535"),
        ({"port": "x"}, "port = 'x'"),
        ({"host": "0.0.0.0"}, "no tokens"),
        ({"host": "hub.example"}, "no tokens"),
        ({"host": ""}, "host is empty"),
        ({"allowed_hosts": ["*"]}, "lets every web page in"),
        ({"tls_cert": "/c"}, "tls_key is missing"),
        ({"tls_key": "/k"}, "tls_cert is missing"),
        ({"tls_key": 3, "tls_cert": "/c"}, "tls_key = 3"),
        ({"max_requests": 0}, "1 or more"),
        ({"trusted_proxies": ["nginx"]}, "trusted_proxies = 'nginx'"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, "host bits"),
        ({"header_timeout": float("inf")}, "header_timeout"),
        ({"proxy_role": "root"}, "proxy_role"),
        ({"proxy_domain": "a..b"}, "proxy_domain"),
        ({"proxy_domain": ".lab.example"}, "proxy_domain"),
        ({"proxy_domain": "127.0.0.1"}, "proxy_domain"),
        ({"proxy_domain": "lab.example:80"}, "proxy_domain"),
        ({"tokens": {"ci": DIGEST}}, r"\[\[http.tokens\]\]"),
        ({"tokens": [DIGEST]}, "token 1 can't be used"),
        ({"tokens": [{**TOKEN, "role": "root"}]}, "read, operate, obliterate"),
        ({"tokens": [{**TOKEN, "name": "a b"}]}, "name can't be used"),
        ({"tokens": [{**TOKEN, "sha": "x"}]}, "'sha' is no key"),
        ({"tokens": [TOKEN, {**TOKEN, "sha256": "0" * 64}]}, "a name is there twice"),
        ({"tokens": [TOKEN, {**TOKEN, "name": "b"}]}, "a sha256 is there twice"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(bad: dict[str, Any], said: str) -> None:
    """The refusal names the key, and what is allowed."""
    with pytest.raises(InvalidConfig, match=said):
        configure_http(**bad)


@pytest.mark.parametrize(
    "table",
    [{"name": "ci", "role": "read", "token": "s3cret"}, {"name": "ci", "role": "read", "sha256": "s3cret"}],
    ids=["token", "as-hash"],
)
def test_a_token_in_plain_text_is_refused_and_not_repeated(table: dict[str, str]) -> None:
    """Only hashes stand in a configuration; the refusal says how to make one, and does not spread the secret."""
    with pytest.raises(InvalidConfig, match="modhub token") as caught:
        configure_http(tokens=[table])
    assert "s3cret" not in str(caught.value)
    with pytest.raises(InvalidConfig) as caught:
        load_http(None, {"MODHUB_HTTP_TOKENS": "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_an_unknown_variable_is_named() -> None:
    """A misspelt variable would else be a default in disguise."""
    with pytest.raises(InvalidConfig, match="MODHUB_HTTP_PROT is no configuration variable"):
        load_http(None, {"MODHUB_HTTP_PROT": "1"})


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("unix:/run/x", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_known(host: str, local: bool) -> None:
    """What only this machine reaches, and what may be reached from elsewhere."""
    assert is_local(host) is local


def test_every_key_has_a_meaning() -> None:
    """The reference page is made of them."""
    assert all(field.metadata["meaning"].endswith(".") for field in dataclasses.fields(HttpConfig))
