"""Columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hub.cli.terminal import Terminal

_GAP = "  "
_NARROWEST = 8


def write_table(
    terminal: Terminal,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    elastic: str = "",
) -> None:
    """Write rows in columns as wide as their widest cell.

    Args:
        terminal: where to. On a real one a line is kept within the width; in a pipe nothing is ever cut.
        header: titles of the columns.
        rows: the cells.
        right: titles of columns that are aligned to the right.
        elastic: title of the column that is cut where the width does not suffice.
    """
    widths = [max(len(row[index]) for row in (header, *rows)) for index in range(len(header))]
    if elastic and terminal.stream.isatty():
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - terminal.width
        index = header.index(elastic)
        widths[index] = max(min(widths[index], _NARROWEST), widths[index] - max(0, excess))
    for number, row in enumerate((header, *rows)):
        cells = [
            _cell(cell, width, terminal, right=title in right)
            for cell, width, title in zip(row, widths, header, strict=True)
        ]
        line = _GAP.join(cells).rstrip()
        terminal.write(line if number else terminal.paint(line, dim=True))


def _cell(text: str, width: int, terminal: Terminal, *, right: bool) -> str:
    if len(text) > width:
        ellipsis = terminal.symbols.ellipsis
        text = text[: width - len(ellipsis)] + ellipsis
    return text.rjust(width) if right else text.ljust(width)
