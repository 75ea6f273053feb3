"""Signing in, and what each role may do."""

from __future__ import annotations

import hashlib

import pytest
from playwright.sync_api import Page, expect

from hub.http import HttpConfig, Role, Token
from tests.browser.conftest import Complaints, MakeSite, OpenPage, take_picture
from tests.browser.serving import Site
from tests.browser.test_list import row, state


@pytest.fixture
def guarded(make_site: MakeSite, complaints: Complaints) -> Site:
    """A site that wants tokens: each role's token is its name."""
    complaints.expect("status of 401")
    tokens = tuple(
        Token(name=f"the-{role}", role=role, sha256=hashlib.sha256(role.encode()).hexdigest()) for role in Role
    )
    site = make_site(HttpConfig(tokens=tokens))
    site.hub.provision("alpha")
    return site


def sign_in(page: Page, token: str) -> None:
    dialog = page.get_by_role("dialog", name="This hub wants a token")
    field = dialog.get_by_label("Token")
    assert field.get_attribute("type") == "password"
    field.fill(token)
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def test_a_reader_sees_all_and_may_do_nothing(guarded: Site, open_page: OpenPage) -> None:
    """Without a token nothing is shown; with that of a reader everything, live, and each button says why not."""
    page = open_page(f"{guarded.url}/")
    expect(page.get_by_role("dialog", name="This hub wants a token")).to_be_visible()
    expect(page.locator("#connection")).to_have_attribute("data-state", "refused")
    expect(page.locator("tbody tr")).to_have_count(0)
    page.keyboard.press("Escape")
    take_picture(page, "token-dialog")
    page.get_by_role("textbox", name="Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("does not know this token")
    sign_in(page, "read")
    expect(page.locator("#identity")).to_have_text("the-read · read")
    expect(state(page, "alpha")).to_have_text("provisioned")
    button = row(page, "alpha").get_by_role("button", name="Hibernate alpha")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_have_attribute("title", "Needs the role operate; the-read has read.")
    button.click(force=True)
    expect(page.locator(".notice")).to_contain_text("Needs the role operate")
    guarded.ask("hub/modules/alpha/hibernate", "POST", token="operate")
    expect(state(page, "alpha")).to_have_text("hibernated")
    assert page.evaluate("document.cookie") == ""
    page.reload()
    expect(state(page, "alpha")).to_have_text("hibernated")
    expect(page.get_by_role("button", name="Provision…")).to_have_attribute("aria-disabled", "true")


def test_an_operator_may_all_but_obliterate(guarded: Site, open_page: OpenPage) -> None:
    """Operations work; obliteration, of one and by name, is refused with its reason before it is asked."""
    page = open_page(f"{guarded.url}/")
    sign_in(page, "operate")
    row(page, "alpha").get_by_role("button", name="Hibernate alpha").click()
    expect(state(page, "alpha")).to_have_text("hibernated")
    expect(row(page, "alpha").get_by_role("button", name="Obliterate alpha")).to_have_attribute("aria-disabled", "true")
    page.get_by_role("button", name="Obliterate by name…").click(force=True)
    expect(page.locator(".notice").last).to_contain_text("Needs the role obliterate")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_an_obliterator_may_everything_until_signed_out(
    guarded: Site, open_page: OpenPage, complaints: Complaints
) -> None:
    """With the highest role the module is obliterated; signing out forgets the token and shows nothing more."""
    complaints.expect("status of 404")
    page = open_page(f"{guarded.url}/modules/alpha")
    sign_in(page, "obliterate")
    expect(page.locator(".facts")).to_contain_text("with the token as a header")
    page.get_by_role("button", name="Obliterate alpha").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("alpha")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("alpha is obliterated")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("dialog", name="This hub wants a token")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    expect(page.locator("tbody tr")).to_have_count(0)
