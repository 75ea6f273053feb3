"""What can happen to a request, to which ones it does, and what becomes of a body: no sockets here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.http_wire import Piece

# A dripping body begins in so many small pieces, with a pause before each.
DRIPS = 8


class Fault(StrEnum):
    """What happens to a request."""

    LATENCY = "latency"  # the request waits before it is passed on
    RESET_BEFORE = "reset before"  # the connection is reset, the server sees nothing
    RESET_MID_REQUEST = "reset mid-request"  # the server sees a part of the body
    LOST_ACKNOWLEDGEMENT = "lost acknowledgement"  # the server did it, the client sees a reset
    SLOW_DOWN = "503"  # refused as S3 throttles; the server sees nothing
    INTERNAL_ERROR = "500"  # as above
    TRUNCATED = "truncated"  # the answer's body ends early, and the connection properly
    FLIPPED_ANSWER = "flipped answer"  # one bit of the answer's body
    FLIPPED_REQUEST = "flipped request"  # one bit of the request's body
    DRIP = "drip"  # the answer's body comes slowly, in pieces


# Status, reason and S3's code.
REFUSALS = {
    Fault.SLOW_DOWN: (503, "Service Unavailable", "SlowDown"),
    Fault.INTERNAL_ERROR: (500, "Internal Server Error", "InternalError"),
}
OF_REQUEST_BODY = {Fault.RESET_MID_REQUEST, Fault.FLIPPED_REQUEST}
OF_ANSWER_BODY = {Fault.TRUNCATED, Fault.FLIPPED_ANSWER, Fault.DRIP}


@dataclass(frozen=True)
class Rule:
    """Which requests a fault strikes.

    Attributes:
        fault: What happens.
        first: Number of the first one struck, from 0, of the requests that this rule is about.
        count: How many are struck; None for all from there on.
        method: About requests of this method alone.
        path: About requests alone whose target has this in it.
        at: Where in the body: 0 for its beginning, 1 for its end.
        seconds: How long latency or dripping takes.
    """

    fault: Fault
    first: int = 0
    count: int | None = 1
    method: str | None = None
    path: str = ""
    at: float = 0.5
    seconds: float = 0.05

    def is_about(self, method: str, target: str) -> bool:
        return self.method in {None, method} and self.path in target

    def strikes(self, number: int) -> bool:
        return number >= self.first and (self.count is None or number < self.first + self.count)


def damaged(pieces: Iterator[Piece], length: int | None, rule: Rule, strike: Callable[[], None]) -> Iterator[Piece]:
    """A body with a fault in it.

    Args:
        pieces: The body; what frames it is passed on as it is.
        length: Bytes of content; None if only its end tells.
        rule: The fault and its place.
        strike: Called when the fault happens.
    """
    seen, place = 0, None if length is None else int(rule.at * (length - 1))
    for piece in pieces:
        if not piece.content:
            yield piece
            continue
        if place is None:
            # As much as is known of a body in chunks: its first one.
            place = int(rule.at * (len(piece.data) - 1))
        offset = place - seen
        seen += len(piece.data)
        if rule.fault is Fault.DRIP:
            strike()
            step = -(-len(piece.data) // DRIPS)
            yield from (Piece(piece.data[start : start + step]) for start in range(0, len(piece.data), step))
        elif not 0 <= offset < len(piece.data):
            yield piece
        elif rule.fault in {Fault.FLIPPED_ANSWER, Fault.FLIPPED_REQUEST}:
            strike()
            bit = bytes([piece.data[offset] ^ 1])
            yield Piece(piece.data[:offset] + bit + piece.data[offset + 1 :])
        else:
            strike()
            yield Piece(piece.data[:offset])
            return
