"""Checks of a configuration: can it be read, and is what it names there?"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import BackendsError, open_store
from hub.admission import memory_of
from hub.cli.doctor.data import check_data_dir
from hub.cli.doctor.finding import Finding, fail, note, ok, warn
from hub.cli.doctor.machine import CGROUP_ADVICE
from hub.cli.terminal import size
from hub.config import HubConfig
from hub.config_sources import ENVIRONMENT_PREFIX, HTTP_PREFIX, configures_hub, load
from hub.errors import InvalidConfig, StartFailed
from hub.instance import Kind
from hub.instance.account import account_of
from hub.instance.cgroup_places import find_places
from hub.instance.limits import parse_limits
from hub.instance.ports import is_free
from hub.instance.procfs import total_memory
from hub.kinds import SHIPPED, find_program

_BACKEND_TIMEOUT_S = 20.0
_PORTS_TRIED = 2000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Stands in for what was not given, where something is to be checked without it; it is never touched.
_ABSENT = {"data_dir": "/", "backend": "file:///absent"}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a configuration comes from.

    Attributes:
        path: the TOML file.
        environment: variables, of which `MODHUB_*` count.
        data_dir: given by a flag.
        backend: given by a flag.
    """

    path: Path | None
    environment: Mapping[str, str]
    data_dir: str | None
    backend: str | None

    @property
    def any(self) -> bool:
        """Whether there is any configuration."""
        variables = any(configures_hub(name) for name in self.environment)
        return variables or any((self.path, self.data_dir, self.backend))

    @property
    def any_http(self) -> bool:
        """Whether there may be any of the HTTP side."""
        return self.path is not None or any(name.startswith(HTTP_PREFIX) for name in self.environment)

    @property
    def absent(self) -> list[str]:
        """Which of the two that a hub can't do without were not given, where no file could give them."""
        if self.path is not None:
            return []
        given = {"data_dir": self.data_dir, "backend": self.backend}
        return [key for key in _ABSENT if not (given[key] or self.environment.get(ENVIRONMENT_PREFIX + key.upper()))]


def check_setup(sources: Sources) -> Iterator[Finding]:
    """Yield what is found of a configuration and of what it names.

    Args:
        sources: where it comes from.
    """
    absent = sources.absent
    flags: dict[str, Any] = {"data_dir": sources.data_dir, "backend": sources.backend}
    flags |= {key: _ABSENT[key] for key in absent}
    try:
        config = load(sources.path, sources.environment, **flags)
    except InvalidConfig as error:
        yield fail("configuration", error.message, error.hint or "correct it; docs: reference/configuration")
        return
    if absent:
        yield note("configuration", f"can be used, as far as it goes: no {' and no '.join(absent)} given")
    else:
        yield ok("configuration", "can be used" + (f": {sources.path}" if sources.path else ""))
    if "data_dir" not in absent:
        yield from check_data_dir(config.data_dir, config.disk_reserve)
    if "backend" not in absent:
        yield check_backend(config.backend, config.backend_options)
    yield _ports(config)
    yield check_budgets(config, total_memory())
    yield from check_kinds(config.kinds, config.default_kind)


def check_backend(uri: str, options: Mapping[str, Any]) -> Finding:
    """Ask a backend whether it can be used.

    Args:
        uri: its URI.
        options: its options.

    Returns:
        What was found; a backend that does not answer in time has failed.
    """
    answers: queue.SimpleQueue[Finding] = queue.SimpleQueue()

    def ask() -> None:
        try:
            store = open_store(uri, **options)
            store.check()
        except BackendsError as error:
            answers.put(fail("backend", str(error), error.hint))
        else:
            answers.put(ok("backend", f"{store.uri} can be reached"))

    # A daemon: a mount that hangs in the kernel must not keep the command from ending.
    threading.Thread(target=ask, daemon=True, name="doctor-backend").start()
    try:
        return answers.get(timeout=_BACKEND_TIMEOUT_S)
    except queue.Empty:
        advice = "check that it is mounted or reachable from this machine"
        return fail("backend", f"no answer within {_BACKEND_TIMEOUT_S:g} s", advice)


def check_budgets(config: HubConfig, memory: int | None) -> Finding:
    """Tell how a configuration's budgets stand to the machine and to each other.

    Args:
        config: the configuration.
        memory: bytes of memory that the machine has; `None` = not known.

    Returns:
        What was found; a kind that can never be started has failed.
    """
    budget, instances = config.memory_budget, config.max_instances
    machine = "" if memory is None else f" of the machine's {size(memory)}"
    message = f"{'any number of' if instances is None else instances} instances, " + (
        "memory without a bound" if budget is None else f"{size(budget)}{machine} for them"
    )
    if budget is None:
        return ok("budgets", message)
    needs = {name: memory_of(kind, config.memory_estimate) for name, kind in config.kinds.items()}
    if hopeless := sorted(name for name, need in needs.items() if need > budget):
        advice = "raise `memory_budget`, or lower the kind's limit"
        return fail("budgets", f"{message}: too little for a single {', '.join(hopeless)}", advice)
    message += f"; a kind without a limit counts with {size(config.memory_estimate)}"
    if memory is not None and budget + config.memory_reserve > memory:
        return warn("budgets", message, "lower `memory_budget`: beyond the machine's memory servers are killed")
    return ok("budgets", message)


def _ports(config: HubConfig) -> Finding:
    if config.ports is None:
        return ok("ports", "any free one")
    low, high = config.ports
    count = high - low + 1
    tried = range(low, min(high, low + _PORTS_TRIED - 1) + 1)
    taken = [port for port in tried if not is_free(port)]
    message = f"{low}-{high}: {count - len(taken)} of {count} free"
    if len(taken) == len(tried):
        return fail("ports", message, "widen `ports`, or move it: something else listens there")
    if taken:
        return note("ports", f"{message}; modules of a hub that runs, or others, have {_shown(taken)}")
    if _EPHEMERAL.exists():
        first, last = map(int, _EPHEMERAL.read_text().split())
        if low <= last and first <= high:
            advice = f"connections out of this machine take ports of {first}-{last} as well; choose a range below"
            return note("ports", message, advice)
    return ok("ports", message)


def check_kinds(kinds: Mapping[str, Kind], default_kind: str | None = None) -> Iterator[Finding]:
    """Yield for each kind whether its program is there.

    Args:
        kinds: the kinds.
        default_kind: the one that modules have unless they are asked for with another.
    """
    for name, kind in kinds.items():
        check = f"kind {name}"
        program, found = find_program(kind, kind.env.get("PATH", os.environ.get("PATH")))
        if found is not None:
            yield ok(check, found)
        elif SHIPPED.get(name) is kind and name != default_kind:
            yield note(check, f"{program} was not found", f"install it if you want modules of kind {name}")
        else:
            yield fail(check, f"{program} was not found", "install it, or give its full path in the kind's command")
        try:
            account_of(kind.user)
        except StartFailed as error:
            tell = note if SHIPPED.get(name) is kind and name != default_kind else fail
            yield tell(f"user of {name}", error.message, error.hint)
        if missing := parse_limits(kind.limits).controllers - find_places(turn_on=False).keys():
            message = f"{', '.join(sorted(missing))} will not be enforced: the hub may make no cgroups for them"
            yield warn(f"limits of {name}", message, CGROUP_ADVICE)


def check_shipped_kinds() -> Iterator[Finding]:
    """Yield for each kind that ships with modhub whether its program is there."""
    return check_kinds(SHIPPED)


def _shown(ports: list[int]) -> str:
    return ", ".join(map(str, ports[:5])) + (" ..." if len(ports) > 5 else "")
