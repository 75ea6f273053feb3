"""Names of files, which are any bytes, for people and for programs."""

from __future__ import annotations

import base64

_ESCAPED = range(0xDC80, 0xDD00)  # what stands for a byte that is no UTF-8, by PEP 383


def shown(name: bytes, encoding: str | None = None) -> str:
    r"""Return a name as text that no terminal takes as a command, and that tells every two names apart.

    Whatever is not printable, not UTF-8, or not in the output's encoding stands as `\xNN`, a backslash is doubled:
    what bash reads between `$'` and `'`.

    Args:
        name: the name or path.
        encoding: what the output takes; `None` = UTF-8.
    """
    return "".join(_character(character, encoding or "utf-8") for character in name.decode("utf-8", "surrogateescape"))


def as_json(key: str, name: bytes) -> dict[str, str]:
    """Return a name for a JSON object: as it is where it is UTF-8, else as `shown`, with the bytes beside it.

    Args:
        key: the key; the bytes stand under `<key>_base64`.
        name: the name or path.
    """
    try:
        return {key: name.decode()}
    except UnicodeDecodeError:
        return {key: shown(name), f"{key}_base64": base64.b64encode(name).decode()}


def _character(character: str, encoding: str) -> str:
    if character == "\\":
        return "\\\\"
    if ord(character) in _ESCAPED:
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character.isprintable():
        try:
            character.encode(encoding)
        except UnicodeEncodeError:
            pass
        else:
            return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode())
