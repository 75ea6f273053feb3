"""Provisioning and obliterating by dialogs: what they ask, what they refuse, what they tell."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from hub import ModuleNotFound
from tests.browser.conftest import Complaints, take_picture
from tests.browser.serving import Site
from tests.browser.test_list import row, state


def holds(root: Path, module_id: str) -> bool:
    """Whether the backend or the hub's directory has anything of this name."""
    return any(module_id in path.name for path in (root / "backend").rglob("*")) or any(
        module_id in path.name for path in (root / "data").rglob("*")
    )


def tracked(site: Site, module_id: str) -> bool:
    try:
        site.hub.module(module_id)
    except ModuleNotFound:
        return False
    return True


def test_a_module_is_provisioned_by_name_and_kind(site: Site, page: Page) -> None:
    """The dialog offers the hub's kinds, refuses what can't be a name, and the new module shows up."""
    page.get_by_role("button", name="Provision…").click()
    dialog = page.get_by_role("dialog")
    name = dialog.get_by_label("Name")
    expect(name).to_be_focused()
    kinds = dialog.get_by_label("Kind")
    expect(kinds.locator("option")).to_have_count(1 + len(site.ask("hub/kinds")["kinds"]))
    name.fill("no good")
    dialog.get_by_role("button", name="Provision").click()
    expect(dialog.get_by_role("alert")).to_contain_text("can't be a name")
    take_picture(page, "provision-dialog")
    name.fill("fresh")
    kinds.select_option("talker")
    name.press("Enter")
    expect(dialog).to_have_count(0)
    expect(state(page, "fresh")).to_have_text("provisioned")
    assert site.hub.module("fresh").kind == "talker"


def test_obliterating_one_wants_its_name_and_tells_what_went(site: Site, page: Page, common_root: Path) -> None:
    """Nothing can be pressed before the name stands there; the result names blobs, bytes and the empty listing."""
    site.hub.provision("doomed")
    site.hub.hibernate("doomed")
    site.hub.checkpoint("doomed")
    site.hub.wake("doomed")
    assert holds(common_root, "doomed")
    row(page, "doomed").get_by_role("button", name="Obliterate doomed").click()
    dialog = page.get_by_role("dialog", name="Obliterate doomed?")
    expect(dialog).to_contain_text("Everything that the backend holds of it goes")
    expect(dialog).to_contain_text("Nobody can bring it back")
    button = dialog.get_by_role("button", name="Obliterate")
    typed = dialog.get_by_label("Type doomed to confirm")
    expect(button).to_be_disabled()
    typed.fill("doome")
    expect(button).to_be_disabled()
    typed.press("Enter")
    assert tracked(site, "doomed")
    take_picture(page, "obliterate-dialog")
    typed.fill("doomed")
    button.click()
    result = page.get_by_role("dialog", name="doomed is obliterated")
    expect(result).to_contain_text("The listing afterwards is empty")
    expect(result.locator("dt")).to_have_text(["Blobs", "Old versions", "In the backend", "On this machine"])
    assert result.locator("dd").first.inner_text() != "0"
    take_picture(page, "obliterated")
    result.get_by_role("button", name="Close").last.click()
    expect(row(page, "doomed")).to_have_count(0)
    assert not holds(common_root, "doomed")


def test_a_name_that_only_the_backend_knows_is_obliterated(site: Site, page: Page, common_root: Path) -> None:
    """A module that nothing tracks, of which the backend holds data, is erased by name after it was typed twice."""
    site.hub.provision("forgotten")
    site.hub.deprovision("forgotten")
    assert not tracked(site, "forgotten")
    assert holds(common_root, "forgotten")
    page.get_by_role("button", name="Obliterate by name…").click()
    dialog = page.get_by_role("dialog")
    button = dialog.get_by_role("button", name="Obliterate", exact=True)
    dialog.get_by_label("Name", exact=True).fill("forgotten")
    expect(button).to_be_disabled()
    dialog.get_by_label("Type it again to confirm").fill("forgotten")
    take_picture(page, "obliterate-by-name")
    button.click()
    expect(dialog.get_by_role("heading")).to_have_text("forgotten is obliterated")
    expect(dialog).to_contain_text("The listing afterwards is empty")
    assert not holds(common_root, "forgotten")


def test_obliterating_a_selection_wants_the_number_and_the_word(site: Site, page: Page, common_root: Path) -> None:
    """All names are listed, the word and their number typed; each has its outcome, others stay."""
    for name in ("gone-1", "gone-2", "stays"):
        site.hub.provision(name)
    page.get_by_label("Select gone-1").check()
    page.get_by_label("Select gone-2").check()
    page.get_by_role("button", name="Obliterate the selected modules").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Modules that go").locator("div")).to_have_text(["gone-1", "gone-2"])
    typed = dialog.get_by_label("Type obliterate 2 to confirm")
    typed.fill("obliterate 3")
    expect(dialog.get_by_role("button", name="Obliterate", exact=True)).to_be_disabled()
    typed.fill("obliterate 2")
    take_picture(page, "obliterate-selection")
    typed.press("Enter")
    expect(dialog.get_by_role("heading")).to_have_text("Obliterate: 2 modules done")
    expect(dialog.locator(".outcomes li").first).to_contain_text("the listing is empty")
    page.keyboard.press("Escape")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator(".selection")).to_be_hidden()
    assert not holds(common_root, "gone")
    assert tracked(site, "stays")


def test_a_failed_obliteration_is_told_where_it_was_asked(site: Site, page: Page, complaints: Complaints) -> None:
    """The dialog stays, says what went wrong and when to try again, and can be tried again."""
    complaints.expect("status of 503")
    site.hub.provision("doomed")
    answer = {
        "code": "backend-error",
        "title": "t",
        "detail": "the backend is away",
        "hint": "bring it back",
        "status": 503,
    }
    page.route(
        "**/hub/modules/doomed",
        lambda route: route.fulfill(
            status=503, content_type="application/problem+json", headers={"Retry-After": "3"}, json=answer
        ),
        times=1,
    )
    row(page, "doomed").get_by_role("button", name="Obliterate doomed").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Type doomed to confirm").fill("doomed")
    dialog.get_by_role("button", name="Obliterate", exact=True).click()
    alert = dialog.get_by_role("alert")
    for text in ("the backend is away", "bring it back", "Try again in 3 s."):
        expect(alert).to_contain_text(text)
    dialog.get_by_role("button", name="Obliterate", exact=True).click()
    expect(dialog.get_by_role("heading")).to_have_text("doomed is obliterated")


def test_a_dialog_keeps_the_keyboard_and_gives_it_back(site: Site, page: Page) -> None:
    """Tab stays inside, Escape closes, and the focus returns to the button that opened it."""
    site.hub.provision("alpha")
    opener = row(page, "alpha").get_by_role("button", name="Obliterate alpha")
    opener.focus()
    opener.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        )
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(opener).to_be_focused()
