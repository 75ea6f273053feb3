"""A host that works a hub at random until somebody kills it; what was acknowledged is in its ledger.

    python -m tests.hub.fault.host ROOT SEED

Each line of the ledger is written before or after the thing itself: `set M N` before a write is sent, `ack M N` after
its acknowledgement, `gone M` before an obliteration is asked for, `obliterated M` after it was acknowledged.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path

from hub import Hub, HubOptions, ModhubError
from tests.hub.resp import command

MODULES = tuple(f"m{number}" for number in range(6))


class Ledger:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, word: str, module_id: str, number: int = 0) -> None:
        os.write(self._descriptor, f"{word} {module_id} {number}\n".encode())


def work(hub: Hub, modules: tuple[str, ...], ledger: Ledger, counter: dict[str, int], chance: random.Random) -> None:
    while True:
        module_id = chance.choice(modules)
        action = chance.choice(("write", "write", "write", "hibernate", "wake", "deprovision", "kill", "obliterate"))
        try:
            match action:
                case "write":
                    info = hub.provision(module_id, kind="redis")
                    assert info.port is not None
                    counter[module_id] += 1
                    number = counter[module_id]
                    ledger.note("set", module_id, number)
                    command(info.port, "SET", "k", str(number))
                    ledger.note("ack", module_id, number)
                case "kill":
                    pid = hub.module(module_id).pid
                    if pid is not None:
                        os.kill(pid, 9)
                case "obliterate":
                    if chance.random() < 0.5:
                        ledger.note("gone", module_id)
                        hub.obliterate(module_id)
                        ledger.note("obliterated", module_id)
                case operation:
                    getattr(hub, operation)(module_id)
        except (ModhubError, OSError):
            pass  # whatever the faults lead to is judged by what is there after the next start


def main() -> None:
    root, seed = Path(sys.argv[1]), int(sys.argv[2])
    counter = dict.fromkeys(MODULES, seed * 1_000_000)
    ledger = Ledger(root / "ledger")
    options: HubOptions = {"retry_delay": 0.05, "restart_delay": 0.05, "restart_limit": 1000, "max_starts": 4}
    with Hub(root / "data", f"file://{root}/backend", **options) as hub:
        print("running", flush=True)
        groups = (MODULES[:2], MODULES[2:4], MODULES[4:])
        threads = [
            threading.Thread(target=work, args=(hub, group, ledger, counter, random.Random(seed * 10 + number)))
            for number, group in enumerate(groups)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
