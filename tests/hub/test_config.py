"""Configuration: every key, from every source, and what is said about a wrong one."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backends.hydration.head import LEASE_LIMIT_MS
from backends.hydration.lease import lease_ms
from hub.config import HubConfig, HubOptions, check_module_id, configure
from hub.config_sources import load
from hub.errors import InvalidConfig, InvalidModuleId
from hub.instance import Kind
from hub.kinds import SHIPPED

REQUIRED: Mapping[str, Any] = {"data_dir": "/tmp/data", "backend": "file:///tmp/backend"}


@dataclass(frozen=True)
class Key:
    """How a key is given in TOML, what becomes of it, and values that can't be used."""

    toml: str
    value: Any
    bad: tuple[object, ...]
    text: str | None = None  # in the environment, where it differs from TOML

    @property
    def environment(self) -> str:
        return self.toml if self.text is None else self.text


NOT_A_NUMBER = ("soon", True, [1], float("nan"))
SECONDS = (*NOT_A_NUMBER, -1, -0.5, float("inf"))
POSITIVE_SECONDS = (*SECONDS, 0)
SIZE = ("many", True, 1.5, [1], -1, "-1", "12 X", "")
COUNT = ("many", True, 1.5, [1], 0, -1)

KEYS: Mapping[str, Key] = {
    "data_dir": Key('"/srv/modhub"', Path("/srv/modhub"), (3, ["/srv"]), text="/srv/modhub"),
    "backend": Key(
        '"file:///srv/backend"',
        "file:///srv/backend",
        (3, "/srv/backend", "ftp://host/path", "file://elsewhere/path", "file:///", "file:///a?b=c", "file:///a#b"),
        text="file:///srv/backend",
    ),
    "backend_options": Key('{ create = "false" }', {"create": "false"}, (3, ["create"], {"nope": 1}, {"create": 3})),
    "default_kind": Key('"redis"', "redis", (3, "mysql"), text="redis"),
    "ports": Key(
        "[7000, 7999]",
        (7000, 7999),
        (1, "7000", [7000], [7999, 7000], [0, 10], [7000, 65536], [1, 2, 3], ["7000", "7999"], -1),
    ),
    "checkpoint_interval": Key("3600", 3600.0, POSITIVE_SECONDS),
    "idle_timeout": Key("900", 900.0, SECONDS),
    "hibernated_timeout": Key("86400.5", 86400.5, SECONDS),
    "on_exit": Key('"deprovision"', "deprovision", (3, "explode", ""), text="deprovision"),
    "restart_limit": Key("0", 0, ("many", True, 1.5, [1], -1)),
    "restart_period": Key("120", 120.0, SECONDS),
    "restart_delay": Key("0.25", 0.25, SECONDS),
    "restart_delay_max": Key("5", 5.0, SECONDS),
    "stable_after": Key("3", 3.0, SECONDS),
    "retry_delay": Key("2", 2.0, SECONDS),
    "retry_delay_max": Key("60", 60.0, SECONDS),
    "max_starts": Key("3", 3, COUNT),
    "max_waiting_starts": Key("0", 0, ("many", True, 1.5, [1], -1)),
    "max_instances": Key("200", 200, COUNT),
    "memory_budget": Key('"24G"', 24 * 1024**3, SIZE, text="24G"),
    "memory_estimate": Key("1000000", 1_000_000, SIZE, text="1000000"),
    "memory_reserve": Key('"512M"', 512 * 1024**2, SIZE, text="512 MiB"),
    "disk_reserve": Key('"10G"', 10 * 1024**3, SIZE, text="10GB"),
    "max_transfers": Key("7", 7, COUNT),
    "transfer_threads": Key("5", 5, COUNT),
    "breaker_failures": Key("2", 2, COUNT),
    "breaker_delay": Key("0.5", 0.5, POSITIVE_SECONDS),
    "breaker_delay_max": Key("30", 30.0, POSITIVE_SECONDS),
    "lease": Key("30", 30.0, POSITIVE_SECONDS),
    "hibernated_lease": Key("600.5", 600.5, POSITIVE_SECONDS),
    "lease_lapse": Key('"stop"', "stop", (3, "explode", ""), text="stop"),
    "live_interval": Key("1", 1.0, POSITIVE_SECONDS),
    "live_timeout": Key("1.5", 1.5, POSITIVE_SECONDS),
    "live_misses": Key("2", 2, COUNT),
    "sweep_interval": Key("0.1", 0.1, POSITIVE_SECONDS),
    "usage_interval": Key("2", 2.0, SECONDS),
    "stall_threshold": Key("0.5", 0.5, POSITIVE_SECONDS),
    "log_max_bytes": Key("2048", 2048, (*COUNT, 1023)),
    "gateway_host": Key('"0.0.0.0"', "0.0.0.0", (3, "", "localhost", "1.2.3", "[::1]"), text="0.0.0.0"),
    "gateway_ports": Key("[6000, 6999]", (6000, 6999), (1, "6000", [6000], [6999, 6000], [0, 10], [6000, 65536], -1)),
    "gateway_wake_timeout": Key("5", 5.0, POSITIVE_SECONDS),
    "gateway_connections": Key("10", 10, COUNT),
}

KINDS_TOML = """
[kinds.notes]
command = ["notes-server", "{port}"]
env = { NOTES_TENANT = "{module_id}" }
ready = "http:/healthz"
live = "tcp"
gc = ["notes-gc", "{data_dir}"]
stop_signal = "SIGINT"
stop_timeout = 3
start_timeout = 4
gc_timeout = 5
"""
NOTES = Kind(
    "notes",
    command=["notes-server", "{port}"],
    env={"NOTES_TENANT": "{module_id}"},
    ready="http:/healthz",
    live="tcp",
    gc=["notes-gc", "{data_dir}"],
    stop_signal="SIGINT",
    stop_timeout=3,
    start_timeout=4,
    gc_timeout=5,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "modhub.toml"


def write(file: Path, *lines: str, without: str = "") -> Path:
    """A file with what is required, unless a line says it itself, and more lines."""
    base = [f'{key} = "{value}"' for key, value in REQUIRED.items() if key != without]
    file.write_text("\n".join([*base, *lines]))
    return file


def with_key(name: str) -> HubConfig:
    """What a configuration is that gives one key beside the required ones."""
    changes: dict[str, Any] = {name: KEYS[name].value}
    return dataclasses.replace(configure(**REQUIRED), **changes)


def test_every_key_is_exercised_below() -> None:
    """A key that is added to the configuration has to be added to these tests."""
    assert {f.name for f in dataclasses.fields(HubConfig)} == {*KEYS, "kinds"}


def test_type_checkers_know_every_key() -> None:
    """The options that `Hub` is annotated with are the configuration's keys, beside the two that it requires."""
    assert {*HubOptions.__annotations__, *REQUIRED} == {f.name for f in dataclasses.fields(HubConfig)}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_read_from_a_file(name: str, file: Path) -> None:
    """Each key's TOML value arrives checked and converted, and no other key changes by it."""
    config = load(write(file, f"{name} = {KEYS[name].toml}", without=name), {})
    assert config == with_key(name)


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_read_from_the_environment(name: str) -> None:
    """Each key's `MODHUB_*` variable does what its line in the file does; foreign variables count for nothing."""
    environment = {f"MODHUB_{key.upper()}": str(value) for key, value in REQUIRED.items()}
    environment |= {f"MODHUB_{name.upper()}": KEYS[name].environment, "HOME": "/root", "MODHUBBLE_PORTS": "x"}
    config = load(None, environment)
    assert config == with_key(name)


@pytest.mark.parametrize(("name", "bad"), [(name, bad) for name, key in KEYS.items() for bad in key.bad])
def test_a_value_that_cannot_be_used_is_refused_by_its_keys_name(name: str, bad: object) -> None:
    """A wrong type, a value out of bounds or no choice at all: the error names the key."""
    with pytest.raises(InvalidConfig, match=name):
        configure(**{**REQUIRED, name: bad})


@pytest.mark.parametrize(
    ("name", "bad", "allowed"),
    [
        ("idle_timeout", -1, "0 or more"),
        ("live_interval", 0, "0.01 or more"),
        ("max_starts", 0, "1 or more"),
        ("lease", 367 * 24 * 3600.0, "0.1 to 31622400"),
        ("hibernated_lease", 367 * 24 * 3600.0, "0.1 to 31622400"),
        ("log_max_bytes", 100, "1024 or more"),
        ("on_exit", "explode", "hibernate, deprovision, leave"),
        ("default_kind", "mysql", ", ".join(sorted(SHIPPED))),
        ("ports", [3, 2], "1 <= low <= high <= 65535"),
        ("max_starts", "many", "int"),
        ("data_dir", 3, "a path"),
        ("backend", 3, "file:///path"),
    ],
)
def test_a_refusal_says_what_is_allowed(name: str, bad: object, allowed: str) -> None:
    """The reader learns from the error alone what to write instead."""
    with pytest.raises(InvalidConfig) as refused:
        configure(**{**REQUIRED, name: bad})
    assert allowed in refused.value.hint


@pytest.mark.parametrize("name", ["idle_timeout", "hibernated_timeout"])
def test_zero_and_none_are_different_timeouts(name: str) -> None:
    """0 sends home at once, `None` never: the lower bound itself is a value."""
    assert getattr(configure(**REQUIRED, **{name: 0}), name) == 0
    assert getattr(configure(**REQUIRED, **{name: None}), name) is None


@pytest.mark.parametrize("any_port", [0, (0, 0), [0, 0], None])
def test_any_port_can_be_asked_for(any_port: object) -> None:
    """`ports = 0` means whatever port is free."""
    assert configure(**REQUIRED, ports=any_port).ports is None


@pytest.mark.parametrize("missing", REQUIRED)
@pytest.mark.parametrize("empty", [{}, {"data_dir": None, "backend": None}, {"data_dir": "", "backend": ""}])
def test_what_has_no_default_must_be_given(missing: str, empty: dict[str, Any]) -> None:
    """Without a data directory or a backend the error names what is missing."""
    given = {key: value for key, value in REQUIRED.items() if key != missing} | {
        key: value for key, value in empty.items() if key == missing
    }
    with pytest.raises(InvalidConfig, match=f"'{missing}' is missing"):
        configure(**given)


def test_a_relative_data_directory_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A later change of the working directory moves no data."""
    monkeypatch.chdir(tmp_path)
    assert configure(**{**REQUIRED, "data_dir": "here"}).data_dir == tmp_path / "here"


def test_checking_a_configuration_touches_nothing(tmp_path: Path) -> None:
    """Neither the data directory nor the backend's folder is made by configuring."""
    configure(data_dir=tmp_path / "data", backend=f"file://{tmp_path}/backend")
    assert list(tmp_path.iterdir()) == []


def test_the_longest_lease_is_what_a_head_may_have() -> None:
    """More would be refused only when a module is taken."""
    longest = configure(**REQUIRED, lease=LEASE_LIMIT_MS / 1000).lease
    assert lease_ms(longest) == LEASE_LIMIT_MS


@pytest.mark.parametrize("source", ["parameter", "file", "environment", "kind"])
def test_an_unknown_key_is_named_with_what_is_allowed(source: str, file: Path) -> None:
    """Wherever it comes from, a misspelt key is an error that shows it and lists the right ones."""
    required = {f"MODHUB_{key.upper()}": str(value) for key, value in REQUIRED.items()}
    calls: Mapping[str, Callable[[], object]] = {
        "parameter": lambda: configure(**REQUIRED, idle_timeuot=3),
        "file": lambda: load(write(file, "idle_timeuot = 3"), {}),
        "environment": lambda: load(None, required | {"MODHUB_IDLE_TIMEUOT": "3"}),
        "kind": lambda: load(write(file, "[kinds.notes]", 'command = ["x"]', "idle_timeuot = 3"), {}),
    }
    with pytest.raises(InvalidConfig) as refused:
        calls[source]()
    assert "idle_timeuot" in str(refused.value).lower()
    expected = "stop_timeout" if source == "kind" else "idle_timeout"
    assert expected in refused.value.hint.lower()


def test_flags_win_over_environment_over_file_over_defaults(file: Path) -> None:
    """Each source overrides the ones below it, key by key."""
    write(file, "restart_limit = 1", "max_starts = 1", "live_misses = 1")
    environment = {"MODHUB_MAX_STARTS": "2", "MODHUB_LIVE_MISSES": "2"}
    config = load(file, environment, live_misses=3, max_transfers=None)
    assert (config.restart_limit, config.max_starts, config.live_misses) == (1, 2, 3)
    assert config.max_transfers == configure(**REQUIRED).max_transfers


@pytest.mark.parametrize("variable", ["MODHUB_PORTS", "MODHUB_IDLE_TIMEOUT"])
def test_a_variable_that_is_no_value_is_named(variable: str) -> None:
    """Text that can't be read as a number or a list is refused with the variable's name."""
    with pytest.raises(InvalidConfig, match=variable):
        load(None, {variable: "[7000, "}, **REQUIRED)


@pytest.mark.parametrize("content", [None, b"ports = [", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, file: Path) -> None:
    """A missing, malformed or undecodable file is a configuration error with its path."""
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidConfig, match=r"modhub\.toml"):
        load(file, {})


def test_a_kind_is_read_from_its_table(file: Path) -> None:
    """`[kinds.NAME]` gives the same kind as the constructor, beside the shipped ones."""
    kinds = load(write(file, KINDS_TOML), {}).kinds
    assert kinds == {**SHIPPED, "notes": NOTES}


def test_kinds_are_given_as_a_list_or_by_name() -> None:
    """A host passes its kinds as objects; a configuration's own mapping can be passed on."""
    config = configure(**REQUIRED, kinds=[NOTES])
    assert configure(**REQUIRED, kinds=config.kinds) == config
    assert config.kinds["notes"] is NOTES


def test_a_kind_of_a_shipped_name_replaces_it() -> None:
    """A preset is adapted by giving a kind of its name."""
    redis = Kind("redis", command=["valkey-server"])
    assert configure(**REQUIRED, kinds=[redis]).kinds["redis"] is redis
    assert SHIPPED["redis"] is not redis


def test_a_configured_kind_can_be_the_default(file: Path) -> None:
    """`default_kind` may name a kind of the same configuration."""
    assert load(write(file, 'default_kind = "notes"', KINDS_TOML), {}).default_kind == "notes"


def test_kinds_cannot_be_changed_afterwards() -> None:
    """What was checked stays as it was."""
    kinds: Any = configure(**REQUIRED, kinds=[NOTES]).kinds
    with pytest.raises(TypeError):
        kinds["notes"] = NOTES


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("kinds = 3", "kinds"),
        ("kinds = { notes = 3 }", "kinds.notes"),
        ('kinds = { notes = "command" }', "kinds.notes"),
        ("[kinds.notes]\nready = 'tcp'", "'command' is missing"),
        ("[kinds.notes]\ncommand = 'notes-server'", "kinds.notes: command can't be used"),
        ("[kinds.notes]\ncommand = [3]", "kinds.notes"),
        ("[kinds.notes]\ncommand = ['x']\nstop_timeout = 'soon'", "kinds.notes: stop_timeout can't be used"),
        ("[kinds.notes]\ncommand = ['x']\nstop_timeout = -1", "stop_timeout"),
        ("[kinds.notes]\ncommand = ['x']\nready = 'udp'", "ready"),
        ("[kinds.Notes]\ncommand = ['x']", "Notes"),
    ],
)
def test_a_kinds_table_that_cannot_be_used_is_named(lines: str, named: str, file: Path) -> None:
    """Whatever is wrong with a kind in the file, the error says where."""
    with pytest.raises(InvalidConfig) as refused:
        load(write(file, lines), {})
    assert named in str(refused.value)


def test_what_a_kind_says_of_itself_comes_through_a_file(tmp_path: Path) -> None:
    """Message and hint of a kind that can't be are the same from a file as from the constructor."""
    with pytest.raises(InvalidConfig) as made:
        Kind("notes", command=["x", "{prot}"])
    with pytest.raises(InvalidConfig) as read:
        load(write(tmp_path / "modhub.toml", "[kinds.notes]", "command = ['x', '{prot}']"), {})
    assert (read.value.message, read.value.hint) == (made.value.message, made.value.hint)


@pytest.mark.parametrize("kinds", [["redis"], [3], [NOTES, NOTES]])
def test_kinds_that_cannot_be_used_are_refused(kinds: list[Any]) -> None:
    """Something that is no `Kind`, or two of one name, is a configuration error."""
    with pytest.raises(InvalidConfig, match="kinds"):
        configure(**REQUIRED, kinds=kinds)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "uri",
    [
        f"file://user:{SECRET}@localhost/path",
        f"s3://key:{SECRET}@bucket/prefix",
        f"s3://{SECRET}@bucket",
        f"file:///path?secret_key={SECRET}",
        f"key:{SECRET}@bucket",
        f"s3://[{SECRET}@bucket",
    ],
)
@pytest.mark.parametrize("source", ["parameter", "file", "environment"])
def test_a_backend_with_credentials_is_refused_without_repeating_them(uri: str, source: str, file: Path) -> None:
    """Neither the error nor what it was raised from shows the secret, so that it ends in no log."""
    calls: Mapping[str, Callable[[], object]] = {
        "parameter": lambda: configure(**{**REQUIRED, "backend": uri}),
        "file": lambda: load(write(file, f'backend = "{uri}"', without="backend"), {}),
        "environment": lambda: load(None, {"MODHUB_BACKEND": uri, "MODHUB_DATA_DIR": "/tmp/data"}),
    }
    with pytest.raises(InvalidConfig, match="backend") as refused:
        calls[source]()
    error: BaseException | None = refused.value
    while error is not None:
        assert SECRET not in f"{error} {error!r} {getattr(error, 'hint', '')}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"create": "true", "secret_key": SECRET}, "secret_key"),
        ({"create": SECRET}, "create"),
        ({"put": {"SSECustomerKey": SECRET}}, "put"),
        ({"uri": SECRET}, "uri"),
        ([SECRET], "backend_options"),
        ({3: SECRET}, "backend_options"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_without_its_value(options: Any, named: str) -> None:
    """The error says which option it is, and neither it nor the configuration's own text shows a value."""
    with pytest.raises(InvalidConfig, match=f"backend_options.*{named}|^{named}") as refused:
        configure(**REQUIRED, backend_options=options)
    error: BaseException | None = refused.value
    while error is not None:
        assert SECRET not in f"{error} {error!r} {getattr(error, 'hint', '')}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_options_in_the_environment_are_not_repeated_either() -> None:
    """A variable that is no table is refused by its name alone."""
    with pytest.raises(InvalidConfig, match="MODHUB_BACKEND_OPTIONS") as refused:
        load(None, {"MODHUB_BACKEND_OPTIONS": f'{{ key = "{SECRET}"'}, **REQUIRED)
    assert SECRET not in str(refused.value)


def test_options_are_kept_out_of_the_configurations_text() -> None:
    """A log that shows a configuration shows no option of the backend: keys may be among them."""
    config = configure(**REQUIRED, backend_options={"create": "false"})
    assert "create" not in repr(config)


def test_the_backend_is_checked_with_its_options(file: Path) -> None:
    """A table `[backend_options]` belongs to the URI, and what is at fault is said: the URI, or the option."""
    assert load(write(file, "[backend_options]", "create = false"), {}).backend_options == {"create": False}
    with pytest.raises(InvalidConfig, match="backend can't be used"):
        load(write(file, 'backend = "ftp://host"', "[backend_options]", "create = false", without="backend"), {})


@pytest.mark.parametrize("module_id", ["a", "A", "0", "tenant-42", "a-", "9-9", "Z" * 63])
def test_a_module_id_of_the_contract_is_accepted(module_id: str) -> None:
    """1 to 63 letters, digits and hyphens, the first one a letter or digit."""
    assert check_module_id(module_id) == module_id


@pytest.mark.parametrize(
    "module_id",
    [
        *("", "-a", "a" * 64, "a_b", "a.b", "a/b", "..", "a b", "a\n", "\na", "a\0"),
        *("\xe4", "\u0661", "\u212a"),
        None,
        3,
        b"a",
    ],
)
def test_anything_else_is_no_module_id(module_id: object) -> None:
    """Other characters, lengths and types are refused before anything happens with them."""
    with pytest.raises(InvalidModuleId, match="allowed: 1 to 63"):
        check_module_id(module_id)


def test_a_huge_wrong_module_id_does_not_flood_the_log() -> None:
    """The refusal shows the beginning of what was given."""
    with pytest.raises(InvalidModuleId) as refused:
        check_module_id("/" * 1_000_000)
    assert len(str(refused.value)) < 300


def test_a_table_without_a_command_adapts_a_shipped_kind(file: Path) -> None:
    """Its keys win, all others are the shipped kind's; the other kinds are as they are shipped."""
    config = load(write(file, "[kinds.redis]", "gateway = true", "[kinds.redis.limits]", "memory = '64M'"), {})
    assert config.kinds["redis"] == dataclasses.replace(SHIPPED["redis"], gateway=True, limits={"memory": "64M"})
    assert config.kinds["postgres"] is SHIPPED["postgres"]


def test_a_table_with_a_command_replaces_a_shipped_kind(file: Path) -> None:
    """Nothing of the shipped one is left: its probes and hooks belong to its own command."""
    config = load(write(file, "[kinds.redis]", "command = ['my-redis', '{port}']"), {})
    assert config.kinds["redis"] == Kind("redis", ["my-redis", "{port}"])
