"""Where a hub that was told nothing keeps what it has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def default_places(environment: Mapping[str, str], *, root: bool) -> dict[str, str]:
    """Return a data directory and a backend for a hub that is configured with neither.

    Not below the working directory: `modhub serve` finds its modules again wherever it is called.

    Args:
        environment: for `XDG_STATE_HOME` and `HOME`.
        root: whether it runs as root, as a service does.

    Returns:
        `data_dir` and `backend`, beside each other.
    """
    if root:
        state = Path("/var/lib")
    else:
        given = environment.get("XDG_STATE_HOME", "")
        # By the specification a relative path there is to be ignored.
        state = Path(given) if given.startswith(os.sep) else Path.home() / ".local" / "state"
    place = state / "modhub"
    return {"data_dir": str(place / "data"), "backend": (place / "backend").as_uri()}
