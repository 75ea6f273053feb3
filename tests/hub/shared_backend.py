"""What tests of hubs that share a backend do and look at."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from hub import Hub, LeaseHeld, ModuleInfo, State
from tests.hub.tiny_client import get, put


def provision_when_free(hub: Hub, module_id: str) -> ModuleInfo:
    """What a caller does who is told when to try again."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            return hub.provision(module_id)
        except LeaseHeld as held:
            time.sleep(held.retry_after_s)
    return hub.provision(module_id)


def put_there(info: dict[str, Any], key: str, value: str) -> None:
    put(_info(info), key, value)


def get_there(info: dict[str, Any], key: str) -> str | None:
    return get(_info(info), key)


def _info(info: dict[str, Any]) -> ModuleInfo:
    fields: dict[str, Any] = info | {"state": State(info["state"]), "data_dir": None}
    return ModuleInfo(**fields)


def head(backend: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((backend / "m" / "head").read_bytes())
    return found


def take_away(backend: Path) -> dict[str, Any]:
    """Make the module another hub's, as where this one was suspended for long."""
    taken = head(backend) | {"owner": "another", "nonce": "1", "term": "1"}
    (backend / "m" / "head").write_text(json.dumps(taken))
    return taken
