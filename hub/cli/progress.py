"""A progress bar: one line on stderr while it is a terminal, gone when the work is done."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TextIO

from backends import Progress
from hub.cli.terminal import Symbols, Terminal, duration, size

_WIDEST_BAR = 24
_NARROWEST_BAR = 6
_WIPE = "\r\x1b[K"
_WITHOUT_RATE_S = 0.2  # too early to tell how fast it is


class ProgressBar:
    """Draws each `Progress` that it is called with, from any thread. Made by `progress_bar`.

    Args:
        terminal: where to draw; `None` = nowhere.
        columns: the terminal's width.
        label: what is under way.
    """

    def __init__(self, terminal: Terminal | None, columns: int, label: str) -> None:
        self._terminal = terminal
        self._columns = columns
        self._label = label
        self._line = ""
        self._lock = threading.RLock()

    def __call__(self, progress: Progress) -> None:
        """Show how far it is."""
        if self._terminal is not None:
            with self._lock:
                self._line = draw(progress, self._label, self._columns - 1, self._terminal.symbols)
                self._show(_WIPE + self._line)

    @contextmanager
    def aside(self) -> Generator[None]:
        """Take the bar out of the way while something else is written."""
        with self._lock:
            self._show(_WIPE if self._line else "")
            yield
            self._show(self._line)

    def close(self) -> None:
        """Wipe the line."""
        with self._lock:
            self._show(_WIPE if self._line else "")
            self._line = ""

    def _show(self, text: str) -> None:
        if self._terminal is not None and text:
            self._terminal.stream.write(text)
            self._terminal.stream.flush()


@contextmanager
def progress_bar(
    label: str, stream: TextIO | None = None, environment: Mapping[str, str] = os.environ
) -> Generator[ProgressBar]:
    """Show a bar until the block ends, however it ends.

    Args:
        label: what is under way, in a word or two.
        stream: where to; `None` = stderr. Nothing is shown where that is no terminal, or `TERM=dumb`.
        environment: for `TERM`, and the variables that `Terminal` looks at.

    Yields:
        What to call with each `Progress`.
    """
    target = sys.stderr if stream is None else stream
    fit = target.isatty() and environment.get("TERM") != "dumb"
    terminal = Terminal.of(target, environment) if fit else None
    bar = ProgressBar(terminal, min(100, shutil.get_terminal_size((80, 24)).columns), label)
    try:
        yield bar
    finally:
        bar.close()


def draw(progress: Progress, label: str, width: int, symbols: Symbols) -> str:
    """Return the line for a state of progress.

    Args:
        progress: the state.
        label: what is under way.
        width: columns to fill at the most.
        symbols: what can be shown.
    """
    whole, done = progress.bytes_total, progress.bytes_done
    if not whole:
        whole, done = progress.files_total, progress.files_done
    parts = [part for part in (_amount(progress), _speed(progress)) if part]
    if not whole:
        return _cut("  ".join([label, progress.phase, *parts]), width, symbols)
    share = min(1.0, done / whole)
    # The bar gives way to the numbers, and where there is no place for it at all, it is left out.
    text = "  ".join([f"{share:4.0%}", *parts])
    room = min(_WIDEST_BAR, width - len(label) - len(text) - 4)
    if room < _NARROWEST_BAR:
        return _cut(f"{label}  {text}", width, symbols)
    full = int(share * room)
    return f"{label}  {symbols.full * full}{symbols.light * (room - full)}  {text}"


def _amount(progress: Progress) -> str:
    if progress.bytes_total:
        return f"{size(progress.bytes_done)} of {size(progress.bytes_total)}"
    if progress.files_total:
        return f"{progress.files_done} of {progress.files_total}"
    if progress.bytes_done:
        return size(progress.bytes_done)
    return str(progress.files_done) if progress.files_done else ""


def _speed(progress: Progress) -> str:
    if not progress.bytes_done or progress.elapsed_s < _WITHOUT_RATE_S:
        return ""
    text = f"{size(int(progress.rate))}/s"
    left = progress.bytes_total - progress.bytes_done
    return f"{text}  {_remaining(left / progress.rate)} left" if left > 0 else text


def _remaining(seconds: float) -> str:
    if seconds < 1:
        return duration(seconds)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _cut(text: str, width: int, symbols: Symbols) -> str:
    return text if len(text) <= width else text[: max(0, width - len(symbols.ellipsis))] + symbols.ellipsis
