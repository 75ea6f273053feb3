"""Makes a PNG small: at most 256 colours, well compressed. A picture of a page has few; no image library is needed for it."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections import Counter
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Colour = tuple[int, ...]


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def predicted(kind: int, left: int, above: int, corner: int) -> int:
    """What a row's filter takes for the byte: see "Filtering" in the format's description."""
    if kind == 4:
        distances = (abs(above - corner), abs(left - corner), abs(left + above - 2 * corner))
        return (left, above, corner)[distances.index(min(distances))]
    return (0, left, above, (left + above) // 2)[kind]


def rows(png: bytes) -> tuple[int, list[bytes]]:
    """Return the width in pixels and the rows, three bytes a pixel."""
    parts = list(chunks(png))
    width, height, depth, colours = struct.unpack(">IIBB", parts[0][1][:10])
    assert (depth, colours) == (8, 2)
    raw = zlib.decompress(b"".join(data for kind, data in parts if kind == b"IDAT"))
    stride, found, above = 3 * width, list[bytes](), bytes(3 * width)
    for y in range(height):
        start = y * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        if kind := raw[start]:
            for x in range(stride):
                left, corner = (line[x - 3], above[x - 3]) if x >= 3 else (0, 0)
                line[x] = (line[x] + predicted(kind, left, above[x], corner)) & 255
        above = bytes(line)
        found.append(above)
    return width, found


def distance(one: Colour, other: Colour) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def nearest(palette: list[Colour], colour: Colour) -> int:
    return min(range(len(palette)), key=lambda n: distance(palette[n], colour))


def smaller(png: bytes) -> bytes:
    """Return the same picture with its most frequent colours, the others as the nearest of them."""
    width, lines = rows(png)
    pixels: list[list[Colour]] = [list(zip(line[::3], line[1::3], line[2::3], strict=True)) for line in lines]
    frequent = Counter(itertools.chain.from_iterable(pixels)).most_common()
    palette: list[Colour] = []
    for colour, _ in frequent:
        # Room is kept for rare colours that nothing is like: a small mark, a bar.
        if len(palette) < 160 or (len(palette) < 256 and distance(palette[nearest(palette, colour)], colour) > 150):
            palette.append(colour)
    index = {colour: nearest(palette, colour) for colour, _ in frequent}
    data = b"".join(b"\0" + bytes(index[colour] for colour in line) for line in pixels)
    head = struct.pack(">IIBBBBB", width, len(pixels), 8, 3, 0, 0, 0)
    colours = bytes(itertools.chain.from_iterable(palette))
    return SIGNATURE + b"".join(
        (chunk(b"IHDR", head), chunk(b"PLTE", colours), chunk(b"IDAT", zlib.compress(data, 9)), chunk(b"IEND", b""))
    )
