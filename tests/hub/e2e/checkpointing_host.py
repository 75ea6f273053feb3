"""A host that checkpoints one module and then goes on writing, until it is killed.

    python -m tests.hub.e2e.checkpointing_host DATA BACKEND KIND [--stuck] [--leave]

With `--stuck` it is in the midst of a checkpoint, whose hook has written a part and hangs, when it says so; that of the
kind `forking` leaves its work to a process of its own. With `--leave` its servers run on when it is killed.
"""

from __future__ import annotations

import http.client
import sys
import threading
from pathlib import Path

from hub import Hub, Kind, ModuleInfo
from tests.hub.conftest import tiny_kind
from tests.hub.resp import command
from tests.hub.tiny_client import put

STUCK = ["sh", "-c", 'echo half > "$1/half"; exec sleep 3600', "sh", "{checkpoint_dir}"]
FORKING = ["sh", "-c", 'echo half > "$1/half"; sleep 3601 & wait', "sh", "{checkpoint_dir}"]


def write(info: ModuleInfo, key: str, value: str) -> None:
    """Have a value acknowledged by the module's server."""
    assert info.port is not None
    match info.kind:
        case "redis":
            assert command(info.port, "SET", key, value) == "OK"
        case "store":
            connection = http.client.HTTPConnection("127.0.0.1", info.port, timeout=10)
            connection.request("PUT", f"/blobs/{key}", value.encode())
            assert connection.getresponse().status in {201, 204}
            connection.close()
        case _:
            put(info, key, value)


def main() -> None:
    data, backend, kind = sys.argv[1:4]
    kinds: list[Kind] = [tiny_kind("stuck", checkpoint=STUCK), tiny_kind("forking", checkpoint=FORKING)]
    on_exit = "leave" if "--leave" in sys.argv else "hibernate"
    # The next one is another hub, which waits until the lease has run out.
    with Hub(data, f"file://{backend}", kinds=kinds, default_kind=kind, lease=0.2, on_exit=on_exit) as hub:
        info = hub.provision("m")
        write(info, "k", "before")
        if "--stuck" in sys.argv:
            threading.Thread(target=hub.checkpoint, args=("m",), daemon=True).start()
            while not [*Path(data).glob("modules/*/checkpoint/half")]:
                pass
        else:
            hub.checkpoint("m")
            write(info, "k", "after")
            write(info, "later", "x")
        print("ready", flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
