"""Whether bytes may go to a terminal: text does, control sequences don't."""

from __future__ import annotations

import codecs
import re

# All controls but tab, line feed and carriage return; C1 too, which terminals take as escape sequences.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class PlainText:
    """Looks at a stream of bytes, part by part."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def goes_on(self, data: bytes) -> bool:
        """Whether it is text still. A character that is cut by the end of a part is judged with the next one.

        Args:
            data: the next part.
        """
        try:
            return _CONTROL.search(self._decoder.decode(data)) is None
        except UnicodeDecodeError:
            return False
