"""Who listens to an answer as it comes, without waiting for it."""

from __future__ import annotations

from typing import Protocol

from hub.http.proxy.answer_reader import AnswerReader


class Listener(Protocol):
    """Who is told of an answer as it comes."""

    def recall(self, data: bytes) -> bool:
        """Take an answer that is known already, if its first bytes are all of it; else it is read."""
        ...

    def heard(self, reader: AnswerReader) -> None:
        """Take what has come of it."""
        ...

    def lost(self, error: Exception) -> None:
        """No more of it will come, and it is not complete."""
        ...
