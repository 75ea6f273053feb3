"""One operation of modhub in a process of its own: `python -m tests.bench.s3.modhub_process WHAT URI PATH FOLDER`.

Prints the seconds that the operation took in the running process, as the hub has it: imported, with an open store. What
the whole process took, its caller knows.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from backends import RemoteModule, open_store

MODULE = "bench"


def main() -> None:
    what, uri, path, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    store = open_store(uri)
    store.check()
    module = RemoteModule(store, MODULE, owner="bench")
    began = time.perf_counter()
    if what == "dehydrate":
        head = module.claim(module.read_head(), "store")
        module.dehydrate(head, path, index=folder / "index")
    elif what == "hydrate":
        head = module.claim(module.read_head(), "store")
        # The index of elsewhere would know nothing of this copy.
        module.hydrate(head, path, scratch=folder / "scratch", index=folder / "index-of-copy")
    else:
        module.erase()
    print(time.perf_counter() - began)


main()
