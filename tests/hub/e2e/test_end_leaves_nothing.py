"""What is left of a hub that has ended, while its host still holds it and goes on."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from hub import AsyncHub, HubClosed, State
from tests.hub.conftest import MakeHub, tiny_kind

pytestmark = pytest.mark.e2e


def sockets() -> set[str]:
    """The sockets that this process has open."""
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]  # not the listing's own
    return {link for path in links if (link := str(path.readlink())).startswith("socket:")}


def test_a_hub_on_s3_that_has_ended_has_no_connection(make_hub: MakeHub, s3_uri: str) -> None:
    """The object is still there, and every connection to the server is closed."""
    before = sockets()
    hub = make_hub(backend_uri=s3_uri)
    assert hub.provision("m").state is State.PROVISIONED
    assert hub.deprovision("m").state is State.UNPROVISIONED
    assert sockets() - before  # what is kept open is what this is about
    hub.close()
    assert sockets() <= before


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_hub_whose_registry_was_stopped_ends_like_any_other(make_hub: MakeHub, end: str) -> None:
    """A plugin that ends the registry by its ref takes no server with it, and leaves none behind: modules come to rest."""
    hub = make_hub()
    pid = hub.provision("m").pid
    assert pid is not None
    getattr(hub.registry, end)()
    with pytest.raises(HubClosed):
        hub.module("m")
    assert Path(f"/proc/{pid}").exists()
    hub.close()
    assert not Path(f"/proc/{pid}").exists()
    assert make_hub().module("m").state is State.HIBERNATED


def test_a_hub_that_has_ended_leaves_no_thread_on_its_hosts_loop(tmp_path: Path) -> None:
    """Neither of its own nor of the loop's executor, which would live as long as the host."""

    async def host() -> set[threading.Thread]:
        before = set(threading.enumerate())
        backend = f"file://{tmp_path}/backend"
        async with AsyncHub(tmp_path / "data", backend, kinds=[tiny_kind()], default_kind="tiny") as hub:
            await hub.provision("m")
            await hub.deprovision("m")
        return set(threading.enumerate()) - before

    assert asyncio.run(host()) == set()
