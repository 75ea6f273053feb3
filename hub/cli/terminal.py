"""What the output can show: its width, whether colours make sense, whether it takes more than ASCII."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

import click

_WIDEST = 100
_NARROWEST = 60
_BEYOND_ASCII = "✓✗→…█░·×•"  # noqa: RUF001 - the multiplication sign is meant


@dataclass(frozen=True, slots=True)
class Symbols:
    """Marks that need more than ASCII, or what stands for them."""

    ok: str
    failed: str
    warning: str
    note: str
    arrow: str
    ellipsis: str
    full: str
    light: str
    dot: str
    cross: str


UNICODE = Symbols("✓", "✗", "!", "•", "→", "…", "█", "░", "·", "×")  # noqa: RUF001 - as above
ASCII = Symbols("+", "x", "!", "-", "->", "..", "#", "=", ".", "X")


@dataclass(frozen=True)
class Terminal:
    """An output stream and what it can show.

    Attributes:
        stream: where the text goes.
        width: columns to fill at the most.
        colour: whether colours make sense.
        symbols: the marks that it can show.
    """

    stream: TextIO
    width: int
    colour: bool
    symbols: Symbols

    @classmethod
    def of(cls, stream: TextIO | None = None, environment: Mapping[str, str] = os.environ) -> Terminal:
        """Look at a stream.

        Args:
            stream: the stream; `None` = stdout.
            environment: for `NO_COLOR`, `TERM` and `COLUMNS`.

        Returns:
            What it can show.
        """
        target = sys.stdout if stream is None else stream
        interactive = target.isatty()
        columns = shutil.get_terminal_size((80, 24)).columns if interactive or "COLUMNS" in environment else 80
        plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
        return cls(
            stream=target,
            width=max(_NARROWEST, min(columns, _WIDEST)),
            colour=interactive and not plain,
            symbols=UNICODE if _takes(target, _BEYOND_ASCII) else ASCII,
        )

    def paint(self, text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
        """Return text in a colour, where colours make sense."""
        return click.style(text, fg=colour, bold=bold or None, dim=dim or None) if self.colour else text

    def write(self, line: str = "") -> None:
        """Write a line; what the encoding lacks is replaced."""
        encoding = self.stream.encoding or "utf-8"
        # Flushed, so that who watches through a pipe sees each step when it happens.
        self.stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
        self.stream.flush()


def printable(text: str) -> str:
    """Return text that others wrote, with whatever would steer a terminal or begin a line spelt out."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _takes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def size(count: int) -> str:
    """Return a number of bytes for people: `203 B`, `24.6 kB`, `1.5 MB`."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """Return a duration for people: `4 ms`, `310 ms`, `1.25 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.2f} s"
