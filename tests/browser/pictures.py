"""Takes the pictures of the dashboard that the README shows: `python -m tests.browser.pictures`."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from hub import Hub
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.kinds import talker
from tests.browser.palette import smaller
from tests.browser.serving import Site, wait_until

FOLDER = Path(__file__).parents[2] / "docs" / "images"
MODULES = {
    "acme-billing": "redis",
    "acme-orders": "store",
    "acme-wiki": "notebook",
    "ci-cache": "store",
    "globex-orders": "store",
    "globex-sessions": "redis",
    "initech-reports": "notebook",
    "initech-orders": "store",
    "preview-412": "store",
    "preview-413": "store",
    "umbrella-orders": "store",
}
ASLEEP = ("globex-orders", "preview-412", "preview-413", "initech-reports")
SHOWN = "acme-orders"


def put(hub: Hub, module_id: str, key: str, size: int) -> None:
    request = urllib.request.Request(f"{hub.module(module_id).url}/blobs/{key}", data=os.urandom(size), method="PUT")
    with urllib.request.urlopen(request, timeout=10):
        pass


def populate(hub: Hub) -> None:
    """Modules in several states, with some use behind them."""
    for module_id, kind in MODULES.items():
        hub.provision(module_id, kind=kind)
    for module_id in ASLEEP:
        hub.hibernate(module_id)
    hub.hibernate(SHOWN)
    hub.checkpoint(SHOWN)
    hub.wake(SHOWN)


def kill(hub: Hub, module_id: str) -> None:
    pid = hub.module(module_id).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def crash(hub: Hub, module_id: str) -> None:
    """Kill it twice: the first restart comes at once."""
    kill(hub, module_id)
    wait_until(lambda: hub.module(module_id).restarts == 1 and hub.module(module_id).state == "provisioned")
    kill(hub, module_id)
    wait_until(lambda: hub.module(module_id).state == "crashed")


def use(hub: Hub, seconds: float) -> None:
    """Work on the module whose page is shown, in waves, so that there is something to be seen."""
    began = time.monotonic()
    number = 0
    while (elapsed := time.monotonic() - began) < seconds:
        if int(elapsed) % 7 < 4:
            for _ in range(1 + int(elapsed) % 3):
                put(hub, SHOWN, f"k{number}", 150_000)
                number += 1
        time.sleep(0.08)


def take(page: Page, name: str) -> None:
    path = FOLDER / f"{name}.png"
    path.write_bytes(smaller(page.screenshot()))
    sys.stdout.write(f"{path}: {path.stat().st_size} bytes\n")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="modhub-", dir="/var/tmp") as root:
        kinds = [talker("notebook"), talker("import", "--slow")]
        with Hub(f"{root}/data", f"file://{root}/backend", kinds=kinds, restart_delay=300.0, usage_interval=1.0) as hub:
            populate(hub)
            use(hub, 45.0)
            site = Site(hub)
            crash(hub, "globex-sessions")
            site.ask("hub/modules/preview-417/provision?wait=false", "POST", {"kind": "import"})
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                for name, path, scheme in (
                    ("dashboard", "", "light"),
                    ("dashboard-module", f"modules/{SHOWN}", "dark"),
                ):
                    size = {"width": 1280, "height": 830} if name == "dashboard" else {"width": 1200, "height": 780}
                    page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type] # plain dictionaries
                    page.goto(f"{site.url}/{path}")
                    page.locator("#connection[data-state=live]").wait_for()
                    page.wait_for_timeout(2500)
                    take(page, name)
                browser.close()
            site.stop()


if __name__ == "__main__":
    main()
