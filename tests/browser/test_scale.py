"""Ten thousand modules, and hundreds of events a second."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from hub import Hub, State
from hub.journal import Journal
from hub.record import ModuleRecord
from tests.browser.conftest import MakeSite, OpenPage
from tests.browser.serving import Site
from tests.browser.test_list import state

FLEET = 10_000
PER_SECOND = 500
SECONDS = 3

# Notes when the first row stands there, and every task that keeps the page from answering for more than 50 ms.
MEASURE = """
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => Math.round(one.duration))))
  .observe({ type: "longtask", buffered: true });
new MutationObserver((_, observer) => {
  if (!document.querySelector("tr[data-id]")) return;
  window.firstRow = performance.now();
  observer.disconnect();
}).observe(document, { childList: true, subtree: true });
"""
# Milliseconds from a click to the frame after the rows are others.
TURN = """
() => new Promise((resolve) => {
  const body = document.querySelector("tbody");
  const first = body.firstElementChild.dataset.id;
  const began = performance.now();
  new MutationObserver((_, observer) => {
    if (body.firstElementChild?.dataset.id === first) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
  }).observe(body, { childList: true });
  [...document.querySelectorAll(".pager button")].at(-1).click();
})
"""


async def seed(journal: Journal) -> None:
    records = [ModuleRecord(f"m{n:05}", "tiny", State.HIBERNATED, dirty=True, since=time.time()) for n in range(FLEET)]
    await journal.write(*records)


def on_its_own_loop(work: Any) -> None:
    """The browser's event loop runs in this thread already."""
    thread = threading.Thread(target=lambda: asyncio.run(work))
    thread.start()
    thread.join()


@pytest.fixture
def fleet(make_site: MakeSite, make_hub: Any, tmp_path: Path) -> Site:
    (tmp_path / "data").mkdir()
    journal = Journal(tmp_path / "data" / "journal.sqlite3")
    journal.open()
    on_its_own_loop(seed(journal))
    journal.close()
    hub: Hub = make_hub(hibernated_timeout=3600.0)
    return make_site(hub=hub)


def storm(hub: Hub) -> threading.Event:
    """Have the hub tell of so many transitions a second, a tenth of them of modules that are shown; returns its end."""
    inner: Any = hub  # nothing public lets a hub tell what did not happen
    bus, loop, ended = inner._hub._runtime._bus, inner._thread._loop, threading.Event()
    states = itertools.cycle([("hibernated", "waking"), ("waking", "provisioned"), ("provisioned", "hibernated")])
    names = (f"m{n % 100 if n % 10 == 0 else (n * 37) % FLEET:05}" for n in itertools.count())
    ticks, share = SECONDS * 20, PER_SECOND // 20
    began = time.monotonic()

    def tick(number: int) -> None:
        for _ in range(share):
            before, after = next(states)
            bus.publish(
                "module.transition", next(names), None, from_state=before, to_state=after, reason="storm", kind="tiny"
            )
        if number == ticks:
            ended.set()
        else:
            delay = began + number / 20 - time.monotonic()
            loop.call_later(max(0.0, delay), tick, number + 1)

    loop.call_soon_threadsafe(tick, 1)
    return ended


def open_fleet(open_page: OpenPage, site: Site) -> Page:
    page = open_page()
    page.context.add_init_script(MEASURE)
    page.goto(f"{site.url}/")
    expect(page.locator("tbody tr")).to_have_count(100)
    page.locator("#connection[data-state=live]").wait_for()
    return page


def test_ten_thousand_modules_are_paged_by_the_hub(fleet: Site, open_page: OpenPage) -> None:
    """A page of a hundred is painted soon, the next ones too; only what is shown is in the document."""
    page = open_fleet(open_page, fleet)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    rows = page.evaluate("window.firstRow")
    turns = sorted(page.evaluate(TURN) for _ in range(5))
    print(
        f"first paint {paint:.0f} ms, first rows {rows:.0f} ms, paging {turns[2]:.0f} ms (median), {turns[-1]:.0f} ms (most)"
    )
    assert page.locator("tbody tr").count() == 100
    expect(page.locator(".range")).to_have_text("501 to 600 of 10,000 modules")
    expect(page.locator("#totals")).to_contain_text("10,000 modules")
    expect(page.locator("tbody tr").first).to_have_attribute("data-id", "m00500")
    page.get_by_role("button", name="Previous").click()
    expect(page.locator("tbody tr").first).to_have_attribute("data-id", "m00400")
    page.goto(f"{fleet.url}/?page=100")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    expect(page.locator("tbody tr").last).to_have_attribute("data-id", "m09999")
    page.goto(f"{fleet.url}/?page=4000")
    expect(page.locator("tbody tr").last).to_have_attribute("data-id", "m09999")
    page.get_by_label("Search modules").fill("m0123")
    expect(page.locator("tbody tr")).to_have_count(10)


def test_a_storm_of_events_does_not_hold_the_page(fleet: Site, open_page: OpenPage) -> None:
    """With 500 events a second the page follows, the focus stays, and little is asked of the hub."""
    page = open_fleet(open_page, fleet)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    link = page.locator('tr[data-id="m00003"]').get_by_role("link")
    link.focus()
    page.evaluate("window.tasks.length = 0")
    ended = storm(fleet.hub)
    expect(page.locator("tbody .state[data-state='provisioned']").first).to_be_visible()
    while not ended.is_set():
        page.wait_for_timeout(100)
    fleet.hub.provision("a-real-one")
    expect(state(page, "a-real-one")).to_have_text("provisioned")
    expect(link).to_be_focused()
    tasks = page.evaluate("window.tasks")
    reads = len([url for url in asked if "/hub/status" in url])
    print(
        f"{PER_SECOND} events/s for {SECONDS} s: long tasks {sorted(tasks, reverse=True)[:5]} ms, list read {reads} times"
    )
    assert reads <= (SECONDS + 3) * 2
