"""Kinds: checked when they are made, immutable afterwards."""

import copy
import math
import pickle
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from hub.errors import InvalidConfig
from hub.instance import Kind
from hub.instance.kind import render
from hub.kinds import DEFAULT_KIND, SHIPPED

COMMAND = ["server", "--port", "{port}"]

GOOD: Mapping[str, tuple[Any, ...]] = {
    "name": ("a", "0", "redis", "my-kind_2", "x" * 63),
    "command": (["server"], ("server", "{port}", "{data_dir}/{module_id}"), ["server", "{{literal}}", ""]),
    "env": ({}, {"A": "1", "_b2": "{data_dir}", "EMPTY": ""}),
    "ready": ("tcp", "http:/", "http:/health?deep=1", "log:Ready", r"log:^ready \d+$"),
    "live": (None, "tcp", "http:/health"),
    "gc": (None, "http:/gc", ["gc-tool", "{data_dir}"], ("gc-tool",)),
    "checkpoint": (None, "http:/checkpoint", ["copy", "{data_dir}", "{checkpoint_dir}"], ("copy",)),
    "init": (None, ["init-tool", "{data_dir}"], ("init-tool",)),
    "user": (None, "postgres", "_svc", "user.name@example.org", "DOMAIN\\user", "machine$"),
    "gateway": (True, False),
    "gateway_wake": ("connect", "bytes"),
    "limits": (
        {},
        {"nofile": 1024, "core": 0, "cpu_s": 60, "fsize": "1G", "as": "unlimited"},
        {"memory": "512M", "cpu": 0.5, "pids": 100},
        {"memory": "1 GiB", "cpu": 2},
    ),
    "stop_signal": ("SIGTERM", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGKILL"),
    "stop_timeout": (0.1, 1, 3600.0),
    "start_timeout": (0.1, 1, 3600.0),
    "gc_timeout": (0.1, 1, 3600.0),
    "checkpoint_timeout": (0.1, 1, 3600.0),
    "init_timeout": (0.1, 1, 3600.0),
}

SECONDS = (0, -1, math.inf, math.nan)
BAD: Mapping[str, tuple[Any, ...]] = {
    "name": ("", "Redis", "-a", "_a", "a b", "a/b", "x" * 64, "é", "a\n"),
    "command": ([], "server --port {port}", [""], ["server", "{prot}"], ["{}"], ["{0}"], ["server", "{"], ["a", "}"]),
    "env": ({"": "1"}, {"1A": "1"}, {"A-B": "1"}, {"A=B": "1"}, {"A": "{prot}"}, {"A": "{"}, {"A": "a\0b"}),
    "ready": (
        "",
        "udp",
        "http:",
        "http:health",
        "https:/x",
        "http:/a b",
        "http:/\xe4",
        "http:/a\r\nX: y",
        "log:(",
        "TCP",
    ),
    "live": ("", "udp", "log:alive", "http:alive"),
    "gc": ("", "tcp", "gc-tool", "log:x", ["gc-tool", "{prot}"], [], [""]),
    "checkpoint": ("", "tcp", "copy", "http:", "log:x", ["copy", "{checkpoint}"], [], [""]),
    "init": ("", "init-tool", ["init-tool", "{prot}"], [], [""]),
    "user": ("", "0", "1000", "-x", "a b", "a:b", "a\n"),
    "gateway": (None, 1, "true", []),
    "gateway_wake": ("", "byte", None, ["bytes"]),
    "limits": (
        {"ram": 1},
        {"memory": 0},
        {"memory": "much"},
        {"memory": "1P"},
        {"memory": "unlimited"},
        {"memory": 1.5},
        {"cpu": 0},
        {"cpu": math.nan},
        {"cpu": "1"},
        {"nofile": -1},
        {"nofile": "1K"},
        {"nofile": True},
        {"nofile": 1 << 62},
    ),
    "stop_signal": ("", "TERM", "15", "SIGNONSENSE", "sigterm", "SIG_DFL", "SIG_BLOCK"),
    "stop_timeout": SECONDS,
    "start_timeout": SECONDS,
    "gc_timeout": SECONDS,
    "checkpoint_timeout": SECONDS,
    "init_timeout": SECONDS,
}
# Refused for what would fail only when the process starts: a format within a placeholder, a NUL, an argument to `tcp`.
BAD_LATE: Mapping[str, tuple[Any, ...]] = {
    "command": (["server", "{port:zz}"], ["server", "{port!q}"], ["{port:{x}}"], ["server", "a\0b"]),
    "ready": ("tcp:8080", "tcp:"),
    "live": ("tcp:8080",),
    "gc": (["gc-tool", "{data_dir:5}"],),
    "checkpoint": (["copy", "{checkpoint_dir!r}"], "http:/a b"),
}


def make(**changes: Any) -> Kind:
    fields: dict[str, Any] = {"name": "notes", "command": COMMAND, **changes}
    return Kind(**fields)


def test_every_field_is_exercised_below() -> None:
    """A field that is added to `Kind` has to be added to these tables."""
    assert set(Kind.__dataclass_fields__) == set(GOOD) == set(BAD)


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in GOOD.items() for v in values])
def test_a_good_value_is_kept(field: str, value: Any) -> None:
    """What can be used stands in the kind; lists become tuples, so that nobody changes them afterwards."""
    kept = getattr(make(**{field: value}), field)
    assert not isinstance(kept, list)
    assert (list(kept) if isinstance(value, list) else kept) == value


@pytest.mark.parametrize(
    ("field", "value"), [(f, v) for table in (BAD, BAD_LATE) for f, values in table.items() for v in values]
)
def test_a_bad_value_is_refused_by_its_fields_name(field: str, value: Any) -> None:
    """Making the kind fails, not the first start with it; the error names the kind, the field and what is allowed."""
    with pytest.raises(InvalidConfig) as refused:
        make(**{field: value})
    assert refused.value.message.startswith("kind ")
    assert field in refused.value.message
    assert refused.value.hint.startswith("allowed: ")


def test_a_kind_cannot_be_changed() -> None:
    """Neither its fields nor what was passed for them can be changed after the check."""
    command, env, gc, copy = ["server"], {"A": "1"}, ["gc-tool"], ["copy"]
    kind = make(command=command, env=env, gc=gc, checkpoint=copy)
    command[0] = gc[0] = copy[0] = "{prot}"
    env["A"] = "{prot}"
    assert (kind.command, dict(kind.env), kind.gc) == (("server",), {"A": "1"}, ("gc-tool",))
    assert kind.checkpoint == ("copy",)
    with pytest.raises(AttributeError):
        kind.ready = "udp"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue] # what is proven
    mutable: Any = kind.env
    with pytest.raises(TypeError):
        mutable["A"] = "2"


def test_placeholders_are_filled() -> None:
    """Each placeholder stands for its value, doubled braces for themselves."""
    texts = ["{port}", "--dir={data_dir}/x", "{module_id}-{port}", "{checkpoint_dir}", "{{port}}", "plain"]
    filled = render(texts, port=7000, data_dir="/d", module_id="tenant-42", checkpoint_dir="/c")
    assert filled == ["7000", "--dir=/d/x", "tenant-42-7000", "/c", "{port}", "plain"]


def test_a_value_that_looks_like_a_placeholder_is_not_filled_again() -> None:
    """A data directory with braces in its path is handed on as it is."""
    assert render(["{data_dir}"], port=1, data_dir="/d/{port}", module_id="m", checkpoint_dir="/c") == ["/d/{port}"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_kind_is_found_by_its_name(name: str) -> None:
    """The presets are valid kinds under their own names, on loopback's given port."""
    kind = SHIPPED[name]
    assert kind.name == name
    assert any("{port}" in text for text in kind.command)
    assert any("{data_dir}" in text for text in kind.command)


def test_the_default_kind_ships() -> None:
    """What a module is without being asked needs nothing else installed."""
    assert DEFAULT_KIND == "store"
    assert DEFAULT_KIND in SHIPPED


@pytest.mark.parametrize("kind", [*SHIPPED.values(), Kind("x", COMMAND, env={"A": "1"}, limits={"nofile": 10})])
def test_a_kind_reaches_another_process_as_it_is(kind: Kind) -> None:
    """It is plain data: what a host hands to a process that it spawns equals what it had."""
    for arrived in (pickle.loads(pickle.dumps(kind)), copy.deepcopy(kind)):
        assert arrived == kind
        assert isinstance(arrived.env, MappingProxyType)
