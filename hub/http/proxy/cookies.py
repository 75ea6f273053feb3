"""Cookies that an instance sets: kept to its own module, though all modules share one host."""

from __future__ import annotations


def confine(value: bytes, prefix: bytes) -> bytes:
    """Rewrite a `Set-Cookie` so that only this module's instance gets the cookie back.

    `Domain` is dropped: the host alone. `Path` is put below the prefix; without one a browser takes the directory of
    the page that set it, which is below the prefix anyway.

    Args:
        value: the field's value.
        prefix: path below which the client sees the instance; empty on its virtual host.
    """
    pair, *attributes = value.split(b";")
    path: bytes | None = None
    kept = [pair]
    for attribute in attributes:
        name, _, argument = attribute.partition(b"=")
        match name.strip(b" \t").lower():
            case b"domain":
                pass
            case b"path":
                path = argument.strip(b" \t")  # the last one counts
            case _:
                kept.append(attribute)
    if path is not None and path.startswith(b"/"):
        below = path == prefix or path.startswith(prefix + b"/")  # the instance has put the prefix there itself
        kept.append(b" Path=" + (path if below else prefix + path))
    return b";".join(kept)
