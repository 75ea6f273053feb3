"""Work that runs on a thread until it is let go."""

from __future__ import annotations

import threading
from typing import Any

PATIENCE_S = 30


class Block:
    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.ended = False

    def __call__(self, *_given: Any) -> str:
        self.began.set()
        assert self.go_on.wait(PATIENCE_S)
        self.ended = True
        return "done"
