"""What type checkers see of the public calls. `make types` proves the `check_*` functions; the tests prove the rest."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path
from typing import Any, assert_type

import pytest

from actors import Message, Ref
from hub import (
    AsyncHub,
    BackendStatus,
    Checkpoint,
    Deprovision,
    Describe,
    DescribeBackend,
    DescribeHub,
    DescribeOperation,
    DescribeUsage,
    EventPage,
    FindModules,
    Hibernate,
    Hub,
    HubStats,
    Kind,
    ListKinds,
    ListModules,
    ListOperations,
    LogChunk,
    ModuleInfo,
    ModulePage,
    Obliterate,
    Obliterated,
    OperationInfo,
    Provision,
    ReadEvents,
    ReadLog,
    State,
    Subscribe,
    Touch,
    UsageSample,
    Wake,
    messages,
)


def check_messages(hub: Hub, subscriber: Ref[Any]) -> None:
    assert_type(hub.registry.ask(Provision("m", kind="redis")), ModuleInfo)
    assert_type(hub.registry.ask(Hibernate("m")), ModuleInfo)
    assert_type(hub.registry.ask(Wake("m")), ModuleInfo)
    assert_type(hub.registry.ask(Deprovision("m"), timeout=1.0), ModuleInfo)
    assert_type(hub.registry.ask(Obliterate("m")), Obliterated)
    assert_type(hub.registry.ask(Checkpoint("m")), ModuleInfo)
    assert_type(hub.registry.ask(Describe("m")), ModuleInfo)
    assert_type(hub.registry.ask(DescribeOperation("id")), OperationInfo)
    assert_type(hub.registry.ask(DescribeBackend()), BackendStatus)
    assert_type(hub.registry.ask(ListModules()), tuple[ModuleInfo, ...])
    assert_type(hub.registry.ask(Touch("m")), ModuleInfo)
    assert_type(hub.registry.ask(FindModules(limit=5)), ModulePage)
    assert_type(hub.registry.ask(ListOperations()), tuple[OperationInfo, ...])
    assert_type(hub.registry.ask(ListKinds()), tuple[str, ...])
    assert_type(hub.registry.ask(DescribeHub()), HubStats)
    assert_type(hub.registry.ask(DescribeUsage("m")), tuple[UsageSample, ...])
    assert_type(hub.registry.ask(ReadLog("m")), LogChunk)
    assert_type(hub.registry.ask(ReadEvents(after=3)), EventPage)
    assert_type(hub.ask(ListModules()), tuple[ModuleInfo, ...])
    assert_type(hub.ask(Obliterate("m"), timeout=1.0), Obliterated)
    assert_type(hub.registry.ask(Provision("m"), block=False).get(), ModuleInfo)
    reply = Subscribe(subscriber)
    as_base: Message[None] = reply
    del as_base


def check_hub(path: Path) -> None:
    kind = Kind("notes", command=["notes", "{port}"])
    with Hub(path, "file:///b", kinds=[kind], ports=(7000, 7999), idle_timeout=900) as hub:
        assert_type(hub, Hub)
        assert_type(hub.provision("m", kind="redis", timeout=1.0), ModuleInfo)
        assert_type(hub.hibernate("m"), ModuleInfo)
        assert_type(hub.wake("m"), ModuleInfo)
        assert_type(hub.deprovision("m"), ModuleInfo)
        assert_type(hub.obliterate("m"), Obliterated)
        assert_type(hub.checkpoint("m", timeout=1.0), ModuleInfo)
        assert_type(hub.touch("m"), ModuleInfo)
        assert_type(hub.module("m"), ModuleInfo)
        assert_type(hub.modules(), tuple[ModuleInfo, ...])
        assert_type(hub.operation("id"), OperationInfo)
        assert_type(hub.find(states=[State.CRASHED], sort="-since"), ModulePage)
        assert_type(hub.operations(), tuple[OperationInfo, ...])
        assert_type(hub.kinds(), tuple[str, ...])
        assert_type(hub.stats(), HubStats)
        assert_type(hub.usage("m"), tuple[UsageSample, ...])
        assert_type(hub.log("m", offset=5), LogChunk)
        assert_type(hub.events("m", after=5), EventPage)
        assert_type(hub.backend_status(), BackendStatus)
        assert_type(hub.module("m").state, State)
    assert_type(Hub.from_config(path), Hub)
    assert_type(AsyncHub.from_config(path), AsyncHub)


async def check_async_hub(path: Path) -> None:
    async with AsyncHub(path, "file:///b") as hub:
        assert_type(hub, AsyncHub)
        assert_type(await hub.registry.ask_async(Provision("m")), ModuleInfo)
        assert_type(await hub.registry.ask_async(ListModules()), tuple[ModuleInfo, ...])
        assert_type(await hub.ask(Obliterate("m")), Obliterated)
        assert_type(await hub.provision("m", kind="redis", timeout=1.0), ModuleInfo)
        assert_type(await hub.hibernate("m"), ModuleInfo)
        assert_type(await hub.wake("m"), ModuleInfo)
        assert_type(await hub.deprovision("m"), ModuleInfo)
        assert_type(await hub.obliterate("m"), Obliterated)
        assert_type(await hub.checkpoint("m", timeout=1.0), ModuleInfo)
        assert_type(await hub.touch("m"), ModuleInfo)
        assert_type(await hub.module("m"), ModuleInfo)
        assert_type(await hub.modules(), tuple[ModuleInfo, ...])
        assert_type(await hub.operation("id"), OperationInfo)
        assert_type(await hub.find(states=[State.CRASHED], sort="-since"), ModulePage)
        assert_type(await hub.operations(), tuple[OperationInfo, ...])
        assert_type(await hub.kinds(), tuple[str, ...])
        assert_type(await hub.stats(), HubStats)
        assert_type(await hub.usage("m"), tuple[UsageSample, ...])
        assert_type(await hub.log("m", offset=5), LogChunk)
        assert_type(await hub.events("m", after=5), EventPage)


REPLIES: dict[type[Message[Any]], Any] = {
    Provision: ModuleInfo,
    Hibernate: ModuleInfo,
    Wake: ModuleInfo,
    Deprovision: ModuleInfo,
    Obliterate: Obliterated,
    Checkpoint: ModuleInfo,
    Describe: ModuleInfo,
    DescribeBackend: BackendStatus,
    DescribeOperation: OperationInfo,
    ListModules: tuple[ModuleInfo, ...],
    Touch: ModuleInfo,
    FindModules: ModulePage,
    ListOperations: tuple[OperationInfo, ...],
    ListKinds: tuple[str, ...],
    DescribeHub: HubStats,
    DescribeUsage: tuple[UsageSample, ...],
    ReadLog: LogChunk,
    ReadEvents: EventPage,
    Subscribe: type(None),
}


@pytest.mark.parametrize("message", REPLIES)
def test_a_message_names_its_reply(message: type[Message[Any]]) -> None:
    """Each message class carries the type of its reply, which checkers read as well."""
    (base,) = message.__orig_bases__  # type: ignore[attr-defined] # pyright: ignore[reportUnknownVariableType, reportAttributeAccessIssue] # set by Generic
    (reply,) = typing.get_args(base)
    assert (type(None) if reply is None else reply) == REPLIES[message]


def test_every_message_is_checked_above() -> None:
    """A message that is added needs its reply written down here."""
    assert {cls.__name__ for cls in REPLIES} == set(messages.__all__)


ASKED = {
    "provision": Provision,
    "hibernate": Hibernate,
    "wake": Wake,
    "deprovision": Deprovision,
    "obliterate": Obliterate,
    "checkpoint": Checkpoint,
    "touch": Touch,
    "module": Describe,
    "modules": ListModules,
    "operation": DescribeOperation,
    "backend_status": DescribeBackend,
    "find": FindModules,
    "operations": ListOperations,
    "kinds": ListKinds,
    "stats": DescribeHub,
    "usage": DescribeUsage,
    "log": ReadLog,
    "events": ReadEvents,
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("cls", [Hub, AsyncHub])
def test_a_method_returns_what_its_message_replies(cls: type, name: str) -> None:
    """The convenience methods of both hubs are annotated with the reply of the message that they send."""
    hints = typing.get_type_hints(getattr(cls, name))
    assert hints["return"] == REPLIES[ASKED[name]]
    assert inspect.iscoroutinefunction(getattr(cls, name)) is (cls is AsyncHub)


@pytest.mark.parametrize("package", ["hub", "actors", "backends"])
def test_the_packages_ship_their_types(package: str) -> None:
    """`py.typed` lies in each package, without which checkers ignore the annotations."""
    module = __import__(package)
    assert (Path(inspect.getfile(module)).parent / "py.typed").is_file()
