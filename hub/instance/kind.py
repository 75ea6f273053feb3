"""A kind says how to run a module's server: plain data, checked when it is made."""

from __future__ import annotations

import re
import signal
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from hub.errors import InvalidConfig
from hub.instance.limits import ALLOWED, LimitValue, parse_limits

PLACEHOLDERS = frozenset({"port", "data_dir", "module_id", "checkpoint_dir"})
GATEWAY_WAKES = ("connect", "bytes")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# As useradd(8) allows them, and those of directory services (user@domain, DOMAIN\\user). No numbers alone: an id that
# belongs to nobody here would be taken as well.
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@\\-]{0,254}\$?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Kind:
    """How to run one kind of server.

    Attributes:
        name: 1 to 63 of `a-z 0-9 _ -`.
        command: program and arguments; `{port}`, `{data_dir}`, `{module_id}` and `{checkpoint_dir}` are filled in, `{{`
            is a brace.
        env: environment variables beyond the few that every child gets; the same placeholders.
        ready: probe that tells when it serves: `tcp`, `http:/path` (a 2xx answer) or `log:REGEX` (a line of its
            output). Whatever the probe, the port's listener must belong to the child's own process group.
        live: probe that tells whether it still serves, `tcp` or `http:/path`; `None` = never asked.
        gc: asked before its data is sent home: `http:/path` (a POST) or a command; `None` = nothing.
        checkpoint: asked while it runs to copy its data to `{checkpoint_dir}`, consistent and complete, so that a server
            starts from it: `http:/path` (a POST) or a command; `None` = its data is never sent home while it runs.
        init: command that makes the first data, run once before the first start, where the data directory is empty;
            `{data_dir}` is then a directory beside it, which takes its place when the command has ended with 0.
        user: name of the user that server, `init`, `gc` and `checkpoint` run as, who then also owns the data, where the hub is root.
            A hub that is not root runs all as its own user; `None` = as the hub's user.
        gateway: whether each module has a stable TCP port, on which a connection wakes it: see
            [a port that wakes](../how-to/a-port-that-wakes.md).
        gateway_wake: what of a connection to that port wakes it: `connect`, or `bytes`, the first byte that the client
            sends, so that connections that merely probe wake nothing.
        limits: what its processes may use at the most, by name: see [limits](../how-to/write-a-kind.md#limits).
        stop_signal: name of the signal that asks it to stop cleanly.
        stop_timeout: seconds it gets for that.
        start_timeout: seconds it gets to become ready.
        gc_timeout: seconds that `gc` gets.
        checkpoint_timeout: seconds that `checkpoint` gets.
        init_timeout: seconds that `init` gets.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    ready: str = "tcp"
    live: str | None = "tcp"
    gc: str | Sequence[str] | None = None
    checkpoint: str | Sequence[str] | None = None
    init: Sequence[str] | None = None
    user: str | None = None
    gateway: bool = False
    gateway_wake: str = "connect"
    limits: Mapping[str, LimitValue] = field(default_factory=dict[str, LimitValue])
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 10.0
    start_timeout: float = 30.0
    gc_timeout: float = 10.0
    checkpoint_timeout: float = 300.0
    init_timeout: float = 120.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise self._invalid("name", self.name, "1 to 63 characters of a-z 0-9 _ -, starting with a letter or digit")
        self._check_command("command", self.command)
        for key, value in self.env.items():
            if not _ENV_NAME.fullmatch(key):
                raise self._invalid("env", key, "names of letters, digits and _")
            self._check_template(f"env {key}", value)
        self._check_probe("ready", self.ready, ("tcp", "http:/path", "log:REGEX"))
        if self.live is not None:
            self._check_probe("live", self.live, ("tcp", "http:/path"))
        self._check_hook("gc", self.gc)
        self._check_hook("checkpoint", self.checkpoint)
        if self.init is not None:
            self._check_command("init", self.init)
        if self.user is not None and not _USER.fullmatch(self.user):
            raise self._invalid("user", self.user, "the name of a user of this machine")
        if self.gateway is not True and self.gateway is not False:
            raise self._invalid("gateway", self.gateway, "true or false")
        if self.gateway_wake not in GATEWAY_WAKES:
            raise self._invalid("gateway_wake", self.gateway_wake, ", ".join(GATEWAY_WAKES))
        try:
            parse_limits(self.limits)
        except ValueError as error:
            raise self._invalid("limits", str(error), ALLOWED) from None
        if not self.stop_signal.startswith("SIG") or self.stop_signal not in signal.Signals.__members__:
            raise self._invalid("stop_signal", self.stop_signal, "a signal's name, such as SIGTERM or SIGINT")
        for key in ("stop_timeout", "start_timeout", "gc_timeout", "checkpoint_timeout", "init_timeout"):
            if not 0 < getattr(self, key) < float("inf"):
                raise self._invalid(key, getattr(self, key), "a number of seconds above 0")
        # Kinds are shared between threads; what was checked must stay so.
        object.__setattr__(self, "command", tuple(self.command))
        object.__setattr__(self, "env", MappingProxyType(dict(self.env)))
        object.__setattr__(self, "limits", MappingProxyType(dict(self.limits)))
        for key in ("gc", "checkpoint", "init"):
            value = getattr(self, key)
            if value is not None and not isinstance(value, str):
                object.__setattr__(self, key, tuple(value))

    def __reduce__(self) -> tuple[Callable[[], Kind], tuple[()]]:
        # Views of dicts can't be copied or pickled, and one day instances are started by another process.
        return partial(type(self), **vars(self) | {"env": dict(self.env), "limits": dict(self.limits)}), ()

    def _invalid(self, key: str, value: object, allowed: str) -> InvalidConfig:
        return InvalidConfig(f"kind {self.name!r}: {key} = {value!r} can't be used", hint=f"allowed: {allowed}")

    def _check_hook(self, key: str, hook: str | Sequence[str] | None) -> None:
        if isinstance(hook, str):
            self._check_probe(key, hook, ("http:/path",))
        elif hook is not None:
            self._check_command(key, hook)

    def _check_command(self, key: str, command: Sequence[str]) -> None:
        if isinstance(command, str) or not command or not command[0]:
            raise self._invalid(key, command, "a list: the program, then its arguments")
        for text in command:
            self._check_template(key, text)

    def _check_template(self, key: str, text: str) -> None:
        if "\0" in text:
            raise self._invalid(key, text, "text without NUL characters")
        try:
            fields = [field for field in string.Formatter().parse(text) if field[1] is not None]
        except ValueError as error:
            raise self._invalid(key, text, f"braces doubled where they are meant literally; {error}") from None
        # Bare names only: a format or conversion would fail no earlier than in the start of a module.
        if any(name not in PLACEHOLDERS or spec or conversion for _, name, spec, conversion in fields):
            raise self._invalid(key, text, "the placeholders " + ", ".join(f"{{{p}}}" for p in sorted(PLACEHOLDERS)))

    def _check_probe(self, key: str, probe: str, allowed: tuple[str, ...]) -> None:
        scheme, _, rest = probe.partition(":")
        known = scheme in {a.partition(":")[0] for a in allowed}
        if not known or (scheme == "tcp" and probe != "tcp") or (scheme == "http" and not rest.startswith("/")):
            raise self._invalid(key, probe, ", ".join(allowed))
        if scheme == "http" and (not rest.isascii() or any(c.isspace() for c in rest)):
            raise self._invalid(key, probe, "an ASCII path without white space")
        if scheme == "log":
            try:
                re.compile(rest)
            except re.error as error:
                raise self._invalid(key, probe, f"a regular expression; {error}") from None


def render(texts: Sequence[str], *, port: int, data_dir: str, module_id: str, checkpoint_dir: str) -> list[str]:
    """Fill the placeholders of a command.

    Args:
        texts: command or other templates, checked by `Kind`.
        port: for `{port}`.
        data_dir: for `{data_dir}`.
        module_id: for `{module_id}`.
        checkpoint_dir: for `{checkpoint_dir}`.

    Returns:
        The texts with every placeholder filled.
    """
    values = {"port": port, "data_dir": data_dir, "module_id": module_id, "checkpoint_dir": checkpoint_dir}
    return [text.format_map(values) for text in texts]
