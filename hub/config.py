"""Configuration of a hub: one class, whose fields are `Hub`'s parameters, the keys of the TOML file, and `MODHUB_*`."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypedDict, cast, get_type_hints

import msgspec

from hub.backend_options import check_opens, check_options
from hub.errors import InvalidConfig, InvalidModuleId
from hub.instance.kind import Kind
from hub.instance.limits import parse_size
from hub.instance.ports import parse_ports
from hub.kinds import DEFAULT_KIND, SHIPPED

_MODULE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


def check_module_id(module_id: object) -> str:
    """Check a module id before anything happens with it.

    Args:
        module_id: what was given as one.

    Returns:
        The id.

    Raises:
        InvalidModuleId: it can't be one.
    """
    if not isinstance(module_id, str) or not _MODULE_ID.fullmatch(module_id):
        raise InvalidModuleId(
            f"{module_id!r:.100} is no module id",
            hint="allowed: 1 to 63 characters of a-z A-Z 0-9 -, starting with a letter or digit",
        )
    return module_id


_YEAR_S = 366 * 24 * 3600.0  # the longest lease that a head may have


def _option(
    default: Any,
    meaning: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"meaning": meaning, "minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata=metadata)


def _size(default: int | None, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning, "minimum": 0, "choices": (), "size": True})


@dataclass(frozen=True, kw_only=True)
class HubConfig:
    """All that a hub can be told. Made by `configure`, which checks it."""

    data_dir: Path = field(metadata={"meaning": "Directory for the hub's journal and the modules' local data."})
    backend: str = field(metadata={"meaning": "URI of the backend, such as `file:///var/lib/modhub-backend`."})
    backend_options: Mapping[str, Any] = field(
        default_factory=lambda: MappingProxyType({}),
        repr=False,  # encryption keys may be among them
        metadata={"meaning": "Options of the backend beyond its URI, as a table `[backend_options]`; see Backends."},
    )
    kinds: Mapping[str, Kind] = field(
        default_factory=lambda: SHIPPED,
        metadata={"meaning": "Kinds beyond the shipped ones, as `[kinds.NAME]` tables in the file."},
    )
    default_kind: str = _option(DEFAULT_KIND, "Kind of a module that has none recorded and is asked for without one.")
    ports: tuple[int, int] | None = _option(None, "Ports for instances, `[low, high]`; 0 = any free one.")
    idle_timeout: float | None = _option(None, "Seconds without activity until it is sent home.", minimum=0)
    hibernated_timeout: float | None = _option(None, "Seconds in hibernation until it is sent home.", minimum=0)
    on_exit: str = _option(
        "hibernate", "What happens to modules when the hub ends.", choices=("hibernate", "deprovision", "leave")
    )
    restart_limit: int = _option(5, "Recoveries of a module at the most within `restart_period`.", minimum=0)
    restart_period: float = _option(60.0, "Window of the restart budget, seconds.", minimum=0)
    restart_delay: float = _option(0.5, "Delay before the second recovery of a series, seconds; it doubles.", minimum=0)
    restart_delay_max: float = _option(30.0, "Delay between recoveries at the most, seconds.", minimum=0)
    stable_after: float = _option(10.0, "Seconds up after which a crash starts a new series.", minimum=0)
    retry_delay: float = _option(1.0, "First delay before an unfinished intent is retried, seconds.", minimum=0)
    retry_delay_max: float = _option(300.0, "Delay between retries at the most, seconds.", minimum=0)
    max_starts: int = _option(2 * (os.cpu_count() or 1), "Processes that may be starting at one time.", minimum=1)
    max_waiting_starts: int = _option(
        1000, "Starts that may wait for one of these; one more is refused with `BudgetExceeded`.", minimum=0
    )
    max_instances: int | None = _option(None, "Servers at the most; one more is refused.", minimum=1)
    memory_budget: int | None = _size(None, "Bytes of memory for all servers together, by their kinds' `limits`.")
    memory_estimate: int = _size(64 * 1024 * 1024, "Bytes that a server counts with whose kind has no memory limit.")
    memory_reserve: int = _size(0, "Bytes of the machine's memory that a start leaves available; 0 = not looked at.")
    disk_reserve: int | None = _size(
        None, "Bytes that stay free on the disk of `data_dir`: below, nothing is started or brought; 0 = all is used."
    )
    max_transfers: int = _option(8, "Modules whose data may be in transfer at one time.", minimum=1)
    transfer_threads: int = _option(8, "Requests to the backend at one time, of all transfers together.", minimum=1)
    breaker_failures: int = _option(
        3, "Failures to reach the backend in a row after which it is left alone for a while.", minimum=1
    )
    breaker_delay: float = _option(
        1.0, "First delay before a backend that is left alone is tried again, seconds; it doubles.", minimum=0.01
    )
    breaker_delay_max: float = _option(60.0, "Delay between such tries at the most, seconds.", minimum=0.01)
    lease: float = _option(
        30.0,
        "Seconds for which no other hub can take a module that runs here; renewed three times as often.",
        minimum=0.1,
        maximum=_YEAR_S,
    )
    hibernated_lease: float = _option(
        3600.0,
        "The same of a module whose data is kept here while it does not run, seconds.",
        minimum=0.1,
        maximum=_YEAR_S,
    )
    lease_lapse: str = _option(
        "serve",
        "What happens to a module whose lease runs out while the backend is out of reach.",
        choices=("serve", "stop"),
    )
    live_interval: float = _option(10.0, "Seconds between liveness probes of an instance.", minimum=0.01)
    live_timeout: float = _option(5.0, "Seconds that a liveness probe may take.", minimum=0.01)
    live_misses: int = _option(3, "Missed probes in a row after which a process is killed.", minimum=1)
    checkpoint_interval: float | None = _option(
        None,
        "Seconds after which a copy of a module's data is sent home, while it runs or once it sleeps.",
        minimum=0.01,
    )
    sweep_interval: float = _option(1.0, "Seconds between looks at connections and idle times.", minimum=0.01)
    usage_interval: float | None = _option(
        5.0, "Seconds between looks at the memory and processor time of servers; 0 = never.", minimum=0
    )
    stall_threshold: float = _option(1.0, "Seconds without a turn of the event loop that are reported.", minimum=0.01)
    log_max_bytes: int = _option(1024 * 1024, "Length at which a module's output log is rotated.", minimum=1024)


class HubOptions(TypedDict, total=False):
    """The optional parameters of `Hub`, for type checkers: the fields of `HubConfig`, as they may be given."""

    backend_options: Mapping[str, Any]
    kinds: Iterable[Kind] | Mapping[str, Kind]
    default_kind: str
    ports: tuple[int, int] | int | None
    idle_timeout: float | None
    hibernated_timeout: float | None
    on_exit: str
    restart_limit: int
    restart_period: float
    restart_delay: float
    restart_delay_max: float
    stable_after: float
    retry_delay: float
    retry_delay_max: float
    max_starts: int
    max_waiting_starts: int
    max_instances: int | None
    memory_budget: int | str | None
    memory_estimate: int | str
    memory_reserve: int | str
    disk_reserve: int | str | None
    max_transfers: int
    transfer_threads: int
    breaker_failures: int
    breaker_delay: float
    breaker_delay_max: float
    lease: float
    hibernated_lease: float
    lease_lapse: str
    live_interval: float
    live_timeout: float
    live_misses: int
    checkpoint_interval: float | None
    sweep_interval: float
    usage_interval: float | None
    stall_threshold: float
    log_max_bytes: int


def configure(**given: Any) -> HubConfig:
    """Check parameters and make a configuration of them.

    Args:
        **given: values for the fields of `HubConfig`; `kinds` may be a list of `Kind`.

    Returns:
        The configuration.

    Raises:
        InvalidConfig: a key that does not exist, is missing, or whose value can't be used; nothing has been touched.
    """
    fields = {f.name: f for f in dataclasses.fields(HubConfig)}
    for key in given:
        if key not in fields:
            raise InvalidConfig(f"{key!r} is no configuration key", hint=f"allowed: {', '.join(fields)}")
    for key in ("data_dir", "backend"):
        if given.get(key) in (None, ""):
            raise InvalidConfig(f"{key!r} is missing", hint=fields[key].metadata["meaning"])
    values = {key: _check(fields[key], value) for key, value in given.items()}
    check_opens(values["backend"], values.get("backend_options", {}))
    if "kinds" in values:
        values["kinds"] = _with_shipped(values["kinds"])
    config = HubConfig(**values)
    if config.default_kind not in config.kinds:
        raise InvalidConfig(
            f"default_kind = {config.default_kind!r} is no kind", hint=f"allowed: {', '.join(sorted(config.kinds))}"
        )
    return config


def _check(spec: dataclasses.Field[Any], value: Any) -> Any:
    key = spec.name
    match key:
        case "data_dir":
            try:
                return Path(value).absolute()
            except TypeError:
                raise InvalidConfig(f"data_dir = {value!r} can't be used", hint="allowed: a path") from None
        case "ports":
            return None if value is None else parse_ports(value)
        case "kinds":
            return value
        case "backend":
            if not isinstance(value, str):
                raise InvalidConfig(f"backend = {value!r} can't be used", hint="allowed: a URI such as file:///path")
            return value
        case "backend_options":
            return check_options(value)
        case _:
            pass
    if spec.metadata.get("size") and isinstance(value, str):
        try:
            value = parse_size(value)
        except ValueError:
            raise InvalidConfig(f"{key} = {value!r} can't be used", hint="allowed: bytes, or as '512M'") from None
    try:
        value = msgspec.convert(value, _FIELD_TYPES[key])
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"{key} = {value!r} can't be used", hint=str(error)) from None
    minimum, choices = spec.metadata["minimum"], spec.metadata["choices"]
    if minimum is not None and value is not None and not minimum <= value < float("inf"):
        raise InvalidConfig(f"{key} = {value!r} can't be used", hint=f"allowed: {minimum} or more")
    maximum = spec.metadata.get("maximum")
    if maximum is not None and value > maximum:
        raise InvalidConfig(f"{key} = {value!r} can't be used", hint=f"allowed: {minimum:g} to {maximum:.0f}")
    if choices and value not in choices:
        raise InvalidConfig(f"{key} = {value!r} can't be used", hint=f"allowed: {', '.join(choices)}")
    return value


_FIELD_TYPES: Mapping[str, Any] = MappingProxyType(get_type_hints(HubConfig))


def _with_shipped(given: Any) -> Mapping[str, Kind]:
    kinds: list[Any] = list(cast("Mapping[str, Any]", given).values() if isinstance(given, Mapping) else given)
    for kind in kinds:
        if not isinstance(kind, Kind):
            raise InvalidConfig(f"kinds: {kind!r} is no Kind", hint="pass hub.Kind(name, command=[...], ...)")
    names = [kind.name for kind in kinds]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidConfig(f"kinds: {', '.join(sorted(twice))} is there twice")
    # A kind of a shipped one's name replaces it: that is how a preset is adapted.
    return MappingProxyType({**SHIPPED, **dict(zip(names, kinds, strict=True))})
