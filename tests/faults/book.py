"""What a soak must find: a file of lines that outlives every kill, and what follows from them.

`set M/K N` before a write is sent, `ack M/K N` after its acknowledgement or a look; `gone M` before an obliteration is
asked for, `doomed M` once it was surely begun, `obliterated M` after its acknowledgement; `did OPERATION OUTCOME`,
`verified M/K BYTES` and `lost TEXT` for the count.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from pathlib import Path

KEYS = ("a", "b", "c")


def content(number: int) -> str:
    """What is written as number N: it can be told from any other, whole."""
    seed = hashlib.blake2b(str(number).encode(), digest_size=32).hexdigest()
    return f"{number}:{seed * (number * 7919 % 160)}"


class Book:
    """The expectations, as far as they have been read.

    Attributes:
        possible: for each module and key, the numbers that it may hold; None for nothing.
        did: operations by name and outcome.
        verified: values that were compared.
        verified_bytes: their length.
        lost: what did not hold.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.possible: dict[str, set[int | None]] = {}
        self.highest = 0
        self.did: Counter[str] = Counter()
        self.verified = 0
        self.verified_bytes = 0
        self.lost: list[str] = []

    def catch_up(self) -> None:
        """Read what has been written since."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        # The last line may be on its way.
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode().splitlines():
            self.read(line)

    def read(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        subject, _, text = rest.partition(" ")
        match word:
            case "set":
                self.of(subject).add(int(text))
                self.highest = max(self.highest, int(text))
            case "ack":
                self.possible[subject] = {None if text == "-" else int(text)}
            case "gone":
                for key in KEYS:
                    self.of(f"{subject}/{key}").add(None)
            case "doomed" | "obliterated":
                self.possible |= {f"{subject}/{key}": {None} for key in KEYS}
            case "did":
                self.did[f"{subject} {text}"] += 1
            case "verified":
                self.verified += 1
                self.verified_bytes += int(text)
            case "lost":
                self.lost.append(rest)
            case _:
                raise ValueError(line)

    def of(self, subject: str) -> set[int | None]:
        return self.possible.setdefault(subject, {None})


class Writer:
    """Writes lines, each whole, whoever kills us when; and keeps the book of them."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()
        self.book = Book(path)
        self.book.catch_up()

    def note(self, word: str, subject: str, text: str = "-") -> None:
        line = f"{word} {subject} {text}"
        with self._lock:
            os.write(self._descriptor, f"{line}\n".encode())
            self.book.read(line)
