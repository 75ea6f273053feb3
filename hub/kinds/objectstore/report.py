from __future__ import annotations

import os


def complain(message: str) -> None:
    """Tell the operator, on stderr. A log that nobody reads any more is no reason to stop serving."""
    try:  # noqa: SIM105 - contextlib would have to be imported
        os.write(2, f"modhub store: {message}\n".encode(errors="replace"))
    except OSError:
        pass
