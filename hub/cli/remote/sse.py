"""Server-sent events, as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """An event of a stream.

    Attributes:
        name: its type.
        data: its data.
        last_id: what to resume after; empty = nothing yet.
    """

    name: str
    data: str
    last_id: str


def parse(chunks: Iterable[bytes]) -> Iterator[Sent]:
    """Yield the events of a stream.

    Args:
        chunks: the stream, cut anywhere; lines end as the hub ends them, with a line feed.
    """
    rest = b""
    name, last_id = "message", ""
    data: list[str] = []
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            field, _, value = line.decode("utf-8", "replace").rstrip("\r").partition(":")
            value = value.removeprefix(" ")
            if not field and not value and line in {b"", b"\r"}:
                if data:
                    yield Sent(name, "\n".join(data), last_id)
                name, data = "message", []
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                last_id = value
