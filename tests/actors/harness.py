"""Actors and a runner that the tests of this package share."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ParamSpec

from actors import Actor, ActorFailure, Message, SystemMessage, Terminated
from actors.testing import run_virtual

P = ParamSpec("P")


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a virtual clock, and check that it leaves no task behind."""

    async def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        await test(*args, **kwargs)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(checked, *args, **kwargs)

    return run


def ignore_failure(failure: ActorFailure) -> None:
    """Keep expected crashes out of the log."""


@dataclass(frozen=True, slots=True)
class Add(Message[int]):
    number: int


@dataclass(frozen=True, slots=True)
class Work(Message[str]):
    """Take some time."""

    seconds: float
    name: str = "work"


@dataclass(frozen=True, slots=True)
class Raise(Message[None]):
    error: BaseException


@dataclass(frozen=True, slots=True)
class RaiseLater(Message[None]):
    error: BaseException


@dataclass(frozen=True, slots=True)
class Urgent(SystemMessage[str]):
    name: str


@dataclass(frozen=True, slots=True)
class Start(Message[Any]):
    """Have the actor run a function, sync or async, with itself as the argument."""

    run: Callable[[Any], Any]


class Declared(Exception):
    """A domain error of Worker."""


class Worker(Actor):
    """Does what the messages above say, and records it."""

    mailbox_capacity = 8
    domain_errors = (Declared,)

    def __init__(self, log: list[Any] | None = None, *, fail_on_start: int = 0) -> None:
        super().__init__()
        self.log: list[Any] = log if log is not None else []
        self.total = 0
        self.fail_on_start = fail_on_start
        self.notices: list[Terminated] = []

    def on_start(self) -> None:
        self.log.append("start")
        if self.log.count("start") <= self.fail_on_start:
            raise OSError("not yet")

    def on_stop(self) -> None:
        self.log.append("stop")

    def on_receive(self, message: Any) -> Any:
        match message:
            case Add(number):
                self.log.append(number)
                self.total += number
                return self.total
            case Work():
                return self.work(message)
            case Raise(error):
                raise error
            case RaiseLater(error):
                return self.raise_later(error)
            case Urgent(name):
                self.log.append(name)
                return name
            case Start(run):
                return run(self)
            case Terminated():
                self.notices.append(message)
                self.log.append(message.reason)
                return None
            case _:
                return super().on_receive(message)

    async def work(self, message: Work) -> str:
        self.log.append(f"{message.name} begins")
        try:
            await asyncio.sleep(message.seconds)
        except asyncio.CancelledError:
            self.log.append(f"{message.name} cancelled")
            raise
        self.log.append(f"{message.name} ends")
        return message.name

    async def raise_later(self, error: BaseException) -> None:
        await asyncio.sleep(1)
        raise error

    def double(self, number: int) -> int:
        return 2 * number
