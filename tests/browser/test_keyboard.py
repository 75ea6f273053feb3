"""The whole way without a pointer."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, take_picture
from tests.browser.serving import Site
from tests.browser.test_list import row, state


def focused(page: Page) -> str:
    text: str = page.evaluate(
        "document.activeElement.getAttribute('aria-label') || document.activeElement.name || document.activeElement.textContent"
    )
    return text


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the control has the focus."""
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        if seen[-1] == name:
            return
    raise AssertionError(f"{name!r} was not among {seen}")


def test_provision_open_and_obliterate_by_keys_alone(page: Page, complaints: Complaints) -> None:
    """A module is made, found, opened and obliterated with nothing but keys, and the focus is always to be seen."""
    complaints.expect("status of 404")
    page.keyboard.press("n")
    page.keyboard.type("by-key")
    page.keyboard.press("Enter")
    expect(state(page, "by-key")).to_have_text("provisioned")
    page.keyboard.press("/")
    page.keyboard.type("by-k")
    page.keyboard.press("ArrowDown")
    expect(row(page, "by-key").get_by_role("link")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    take_picture(page, "keyboard-focus")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by-key", level=1)).to_be_focused()
    tab_to(page, "Obliterate by-key")
    page.keyboard.press("Enter")
    page.keyboard.type("by-key")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("by-key is obliterated")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("[")
    expect(page.locator("tbody tr")).to_have_count(0)


def test_rows_are_walked_and_selected_by_keys(site: Site, page: Page) -> None:
    """j, k and the arrows walk, Home and End jump, x selects, Escape ends the selection."""
    for name in ("a", "b", "c"):
        site.hub.provision(name)
    expect(page.locator("tbody tr")).to_have_count(3)
    for key, name in (
        ("j", "a"),
        ("j", "b"),
        ("ArrowDown", "c"),
        ("j", "c"),
        ("k", "b"),
        ("ArrowUp", "a"),
        ("End", "c"),
        ("Home", "a"),
    ):
        page.keyboard.press(key)
        expect(row(page, name).get_by_role("link")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_text("2 modules selected")).to_be_visible()
    expect(row(page, "b")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.locator(".selection")).to_be_hidden()


def test_the_keyboard_stays_in_its_row_when_its_button_goes(site: Site, page: Page) -> None:
    """Pressing a row's button that the new state takes away leaves the focus in that row."""
    site.hub.provision("alpha")
    button = row(page, "alpha").get_by_role("button", name="Hibernate alpha")
    button.focus()
    button.press("Enter")
    expect(state(page, "alpha")).to_have_text("hibernated")
    expect(row(page, "alpha").get_by_role("button", name="Wake alpha")).to_be_visible()
    assert page.evaluate("document.activeElement.closest('tr')?.dataset.id") == "alpha"


def test_the_help_tells_the_keys(page: Page) -> None:
    """`?` opens the list of shortcuts, Escape closes it; so does its button."""
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("provision a module")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("dialog")).to_have_count(0)
