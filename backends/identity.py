"""From a module's id to the name that its data has everywhere.

Two ids that differ only in case must be two modules also on file systems that ignore case, so an upper-case letter is
written as an underscore and its lower-case form. Ids have no underscore of their own: the encoding is injective.
"""

from __future__ import annotations

import re

from backends.errors import InvalidName

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_UPPER = re.compile(r"[A-Z]")


def encode_module_id(module_id: str) -> str:
    """The name of a module's directory or prefix, distinct for distinct ids on every file system.

    Args:
        module_id: 1 to 63 characters of a-z A-Z 0-9 -, starting with a letter or digit.

    Returns:
        The encoded id, at most 126 characters of a-z 0-9 - _.

    Raises:
        InvalidName: It is not a module id.
    """
    if not _ID.fullmatch(module_id):
        raise InvalidName("not a module id")
    return _UPPER.sub(lambda match: "_" + match.group().lower(), module_id)


def decode_module_id(name: str) -> str | None:
    """The module id that an encoded name stands for.

    Args:
        name: A directory's name, or a prefix without its slash.

    Returns:
        The id, or None for a name that no id has.
    """
    module_id = re.sub(r"_([a-z])", lambda match: match.group(1).upper(), name)
    # Encoded again, since e.g. "A" decodes to "A" but is not what "A" is encoded to.
    return module_id if _ID.fullmatch(module_id) and encode_module_id(module_id) == name else None


def module_prefix(module_id: str) -> str:
    """The prefix below which a backend holds everything of a module, and nothing else.

    Args:
        module_id: The module's id.

    Returns:
        The encoded id and a slash.

    Raises:
        InvalidName: It is not a module id.
    """
    return encode_module_id(module_id) + "/"
