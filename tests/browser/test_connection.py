"""The stream of events: what shows of it, and how it comes back."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.browser.conftest import Complaints, MakeSite, OpenPage
from tests.browser.serving import Site
from tests.browser.test_list import row, state

REFUSED = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_SOCKET_NOT_CONNECTED|status of 503"


def test_it_comes_back_after_the_server_was_restarted(site: Site, page: Page, complaints: Complaints) -> None:
    """While the server is away the page says so and keeps what it shows; then it is live again with what was missed."""
    complaints.expect(REFUSED)
    site.hub.provision("alpha")
    expect(state(page, "alpha")).to_have_text("provisioned")
    connection = page.locator("#connection")
    site.stop()
    expect(connection).to_have_attribute("data-state", "reconnecting")
    expect(connection).to_contain_text("reconnecting")
    expect(row(page, "alpha")).to_be_visible()
    site.hub.hibernate("alpha")
    expect(connection).to_have_attribute("data-state", "offline", timeout=15_000)
    site.start()
    connection.get_by_role("button", name="Try now").click()
    expect(connection).to_have_attribute("data-state", "live")
    expect(state(page, "alpha")).to_have_text("hibernated")
    site.post("alpha", "wake")
    expect(state(page, "alpha")).to_have_text("provisioned")


def test_it_resumes_from_the_last_event(site: Site, page: Page, complaints: Complaints) -> None:
    """After a break the stream is asked for from the last event's id on, by itself and soon."""
    complaints.expect(REFUSED)
    site.hub.provision("alpha")
    expect(state(page, "alpha")).to_have_text("provisioned")
    with page.expect_request(
        lambda request: "/hub/events" in request.url and "last-event-id" in request.headers
    ) as asked:
        site.stop()
        site.start()
    run, _, number = asked.value.headers["last-event-id"].rpartition("-")
    assert run
    assert int(number) > 0
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def test_it_works_below_the_path_of_a_host(make_site: MakeSite, open_page: OpenPage) -> None:
    """Mounted at /modhub all links, files and calls stay below that, on both pages."""
    site = make_site(wrap=lambda app: Starlette(routes=[Mount("/modhub", app)]), root="/modhub")
    site.hub.provision("alpha")
    asked: list[str] = []
    page = open_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.url}/modules/alpha")
    expect(page.locator(".facts")).to_contain_text("tiny")
    page.get_by_role("link", name="modhub, all modules").click()
    page.get_by_label("Search modules").fill("alp")
    expect(page).to_have_url(f"{site.url}/?search=alp")
    row(page, "alpha").get_by_role("button", name="Hibernate alpha").click()
    expect(state(page, "alpha")).to_have_text("hibernated")
    row(page, "alpha").get_by_role("link").click()
    expect(page).to_have_url(f"{site.url}/modules/alpha")
    assert [url for url in asked if not url.startswith(f"{site.url}/")] == []
