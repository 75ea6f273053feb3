"""What axe finds, in both colour schemes and on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import (  # type: ignore[import-untyped] # it has no types
    Axe,  # pyright: ignore[reportMissingTypeStubs] # as above
)
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, take_picture
from tests.browser.serving import Site
from tests.browser.test_list import crash, state

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def violations(page: Page) -> list[str]:
    results: Any = Axe().run(page)
    found: list[dict[str, Any]] = results.response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:4]]}" for one in found]


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than what shows it."""
    pixels: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return pixels


@pytest.mark.parametrize(
    ("look", "options"),
    [
        ("light", {**DESKTOP, "color_scheme": "light"}),
        ("dark", {**DESKTOP, "color_scheme": "dark"}),
        ("phone", {**PHONE, "color_scheme": "light"}),
    ],
)
def test_nothing_is_in_anybodys_way(site: Site, open_page: OpenPage, look: str, options: dict[str, Any]) -> None:
    """List, selection, every dialog and a module's page have no violation, and none of them scrolls sideways."""
    for name in ("asleep", "awake", "fallen"):
        site.hub.provision(name, kind="talker")
    site.hub.hibernate("asleep")
    crash(site, "fallen")
    page = open_page(f"{site.url}/", **options)
    expect(state(page, "fallen")).to_have_text("crashed")
    found: dict[str, list[str]] = {}

    def check(what: str) -> None:
        found[what] = violations(page) + (["scrolls sideways"] if sideways(page) > 0 else [])
        take_picture(page, f"{look}-{what}", full_page=what in {"list", "module"} and look.startswith("phone"))

    check("list")
    box = page.get_by_label("Select awake").bounding_box()
    link = page.get_by_role("link", name="awake").bounding_box()
    assert box is not None
    assert link is not None
    assert box["x"] + box["width"] <= link["x"], "the box lies over the name"
    page.get_by_label("Select awake").check()
    page.get_by_label("Select fallen").check()
    check("selection")
    page.get_by_role("button", name="Hibernate the selected modules").click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_contain_text("1 failed")
    check("outcomes")
    page.keyboard.press("Escape")
    for opener, what in (
        ("Obliterate the selected modules", "obliterate-selection"),
        ("Provision…", "provision"),
        ("Obliterate by name…", "obliterate-by-name"),
        ("Obliterate asleep", "obliterate"),
        ("Keyboard shortcuts", "help"),
    ):
        page.get_by_role("button", name=opener, exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        check(what)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("link", name="fallen", exact=True).click()
    expect(page.locator(".timeline li").first).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("talker")
    check("module")
    assert {what: problems for what, problems in found.items() if problems} == {}


@pytest.mark.parametrize(
    ("look", "options"),
    [
        ("light", {**DESKTOP, "color_scheme": "light"}),
        ("dark", {**DESKTOP, "color_scheme": "dark"}),
        ("phone", {**PHONE, "color_scheme": "light"}),
    ],
)
def test_the_page_of_the_api_is_for_everybody(
    site: Site, open_page: OpenPage, look: str, options: dict[str, Any]
) -> None:
    """With all of it unfolded it has no violation, and does not scroll sideways."""
    page = open_page(f"{site.url}/docs", **options)
    expect(page.get_by_role("heading", level=1)).to_contain_text("API")
    take_picture(page, f"{look}-docs")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert violations(page) == []
    assert sideways(page) == 0
    take_picture(page, f"{look}-docs-unfolded")
