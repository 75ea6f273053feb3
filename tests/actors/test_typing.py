"""Checked by mypy and pyright as well as run: what the annotations promise."""

from dataclasses import dataclass
from typing import Any, assert_type

from actors import Actor, ActorSystem, Future, Message, Ref, SystemMessage
from tests.actors.harness import virtual


@dataclass(frozen=True)
class Length(Message[int]):
    text: str


@dataclass(frozen=True, slots=True)
class Upper(SystemMessage[str]):
    text: str


class Typed(Actor):
    def __init__(self, suffix: str = "") -> None:
        super().__init__()
        self.suffix = suffix

    async def on_start(self) -> None:
        """Asynchronous hooks pass both checkers."""

    async def on_stop(self) -> None:
        """As on_start."""

    async def on_receive(self, message: Length | Upper) -> int | str:
        match message:
            case Length(text):
                return len(text)
            case Upper(text):
                return text.upper() + self.suffix


class Synchronous(Actor):
    def on_start(self) -> None:
        """Synchronous hooks as well."""

    def on_receive(self, message: object) -> object:
        return message


@virtual
async def test_replies_are_typed_by_their_message() -> None:
    """ask and ask_async return the R of a Message[R]; other messages are Any; refs know their actor's class."""
    async with ActorSystem() as system:
        ref = assert_type(system.spawn(Typed, "!"), Ref[Typed])
        anything: Ref[Actor] = ref  # a ref is covariant in its actor
        assert anything is system.spawn(Synchronous) or anything is ref
        assert assert_type(await ref.ask_async(Length("abc")), int) == 3
        assert assert_type(await ref.ask_async(Upper("abc"), timeout=1), str) == "ABC!"
        assert assert_type(await ref.ask(Length("abc"), block=False), int) == 3
        future = assert_type(ref.ask(Length("abc"), block=False, timeout=1), Future[int])
        assert assert_type(await future.map(str), str) == "3"
        assert_type(ref.ask("untyped", block=False), Future[Any])
        assert assert_type(await ref.stop(block=False), bool)


def never_called(ref: Ref[Typed]) -> None:
    assert_type(ref.ask(Length("abc")), int)
    assert_type(ref.ask(Upper("abc"), timeout=1), str)
    assert_type(ref.ask(Upper("abc"), block=True), str)
    assert_type(ref.ask("untyped"), Any)
    assert_type(ref.stop(), bool)
    assert_type(ref.kill(timeout=1), bool)
