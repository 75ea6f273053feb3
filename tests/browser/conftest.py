"""One browser for all tests here; it ends with them, since its event loop would be in the way of other tests' own."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from hub import Hub
from hub.http import HttpConfig
from tests.browser.kinds import talker, tiny
from tests.browser.serving import Site

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ARTEFACTS = Path(os.environ.get("MODHUB_TEST_ARTEFACTS", Path(__file__).with_name("artefacts")))
# Seconds until a thing that should show does not any more.
PATIENCE_MS = 15_000

MakeSite = Callable[..., Site]
OpenPage = Callable[..., Page]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def make_hub(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    hubs: list[Hub] = []

    def make(**options: Any) -> Hub:
        defaults: dict[str, Any] = {"kinds": [tiny(), talker()], "default_kind": "tiny", "restart_delay": 30.0}
        hub = Hub(tmp_path / "data", f"file://{tmp_path / 'backend'}", **defaults | options).start()
        hubs.append(hub)
        return hub

    yield make
    for hub in hubs:
        hub.close()


@pytest.fixture
def make_site(make_hub: Callable[..., Hub]) -> Iterator[MakeSite]:
    """Serve hubs; ends the servers, then `make_hub` the hubs."""
    sites: list[Site] = []

    def make(config: HttpConfig | None = None, *, hub: Hub | None = None, **options: Any) -> Site:
        site = Site(hub or make_hub(), config, **options)
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.stop()


@pytest.fixture(scope="package")
def common_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("common")


@pytest.fixture(scope="package")
def common_site(common_root: Path) -> Iterator[Site]:
    options: dict[str, Any] = {"kinds": [tiny(), talker()], "default_kind": "tiny", "restart_delay": 30.0}
    with Hub(common_root / "data", f"file://{common_root / 'backend'}", **options) as hub:
        site = Site(hub)
        yield site
        site.stop()


@pytest.fixture
def site(common_site: Site) -> Iterator[Site]:
    """A site without modules. One hub for most tests, since a start takes longer than they do."""
    yield common_site
    for info in common_site.hub.modules():
        common_site.hub.obliterate(info.module_id)


class Complaints:
    """What the browser finds fault with; a test fails with it unless it said that it expects that."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._expected: list[str] = []

    def expect(self, pattern: str) -> None:
        self._expected.append(pattern)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.found.append(f"{message.type}: {message.text}")

    def unexpected(self) -> list[str]:
        return [text for text in self.found if not any(re.search(pattern, text) for pattern in self._expected)]


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@pytest.fixture
def open_page(browser: Browser, complaints: Complaints, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Open pages in contexts of their own: nothing of one test's storage is in another's."""
    pages: list[Page] = []

    def make(url: str = "", **options: Any) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"} | options
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(VIOLATIONS)
        page = context.new_page()
        page.on("console", complaints.hear)
        page.on("pageerror", lambda error: complaints.found.append(f"exception: {error}"))
        pages.append(page)
        if url:
            page.goto(url)
        return page

    yield make
    for number, page in enumerate(pages):
        if not page.is_closed():
            take_picture(page, f"{request.node.name}-{number}")
        page.context.close()
    assert complaints.unexpected() == []


@pytest.fixture
def page(open_page: OpenPage, site: Site) -> Page:
    """The list of the hub's modules."""
    page = open_page(f"{site.url}/")
    page.locator("#connection[data-state=live]").wait_for()
    return page


def take_picture(page: Page, name: str, *, full_page: bool = False) -> None:
    """Keep what the page shows, for a person to look at."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^\w-]+", "-", name).strip("-")
    page.screenshot(path=ARTEFACTS / f"{safe}.png", full_page=full_page)
