"""The list: what it shows, sorts, filters, and how it stays live."""

from __future__ import annotations

import os
import re
import signal
import time

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Complaints, take_picture
from tests.browser.serving import Site, wait_until


def row(page: Page, module_id: str) -> Locator:
    return page.locator(f'tr[data-id="{module_id}"]')


def state(page: Page, module_id: str) -> Locator:
    return row(page, module_id).locator(".state")


def shown(page: Page) -> list[str]:
    ids: list[str] = page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.dataset.id)")
    return ids


def kill(site: Site, module_id: str) -> None:
    pid = site.hub.module(module_id).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def crash(site: Site, module_id: str) -> None:
    """Kill it until it stays crashed: the first restart comes at once, the second after the delay."""
    kill(site, module_id)
    wait_until(lambda: site.hub.module(module_id).restarts == 1 and site.hub.module(module_id).state == "provisioned")
    kill(site, module_id)
    wait_until(lambda: site.hub.module(module_id).state == "crashed")


def test_a_module_is_shown_with_its_facts(site: Site, page: Page) -> None:
    """State as colour, icon and word, kind, port, uptime, memory, idle time and dirty data stand in the row, and in its header."""
    info = site.hub.provision("alpha", kind="talker")
    expect(state(page, "alpha")).to_have_text("provisioned")
    assert state(page, "alpha").get_attribute("data-tone") == "good"
    expect(state(page, "alpha").locator("svg")).to_be_visible()
    expect(row(page, "alpha").locator(".col-kind")).to_have_text("talker")
    expect(row(page, "alpha").locator(".col-port")).to_have_text(str(info.port))
    expect(row(page, "alpha").locator(".col-uptime_s")).to_have_text(re.compile(r"^\d+ s$"))
    expect(row(page, "alpha").locator(".col-idle_s")).to_have_text(re.compile(r"^\d+ s$"))
    expect(row(page, "alpha").locator(".chip")).to_have_text("dirty")
    expect(row(page, "alpha").locator(".col-memory_bytes")).to_have_text(re.compile(r"^[\d.]+ MB$"))
    headers = page.locator("thead th").all_inner_texts()
    for header in ("Module", "State", "Kind", "Port", "Uptime", "Restarts", "Memory", "Idle", "Saved", "Last error"):
        assert header in headers


def test_what_another_caller_does_shows_without_reloading(site: Site, page: Page) -> None:
    """A change by the API shows in the same row, which keeps the focus and the selection; the counts follow."""
    site.hub.provision("alpha")
    site.hub.provision("beta")
    link = row(page, "alpha").get_by_role("link")
    expect(link).to_be_visible()
    link.focus()
    row(page, "alpha").get_by_label("Select alpha").check()
    link.focus()
    page.evaluate("document.querySelector('tr[data-id=alpha]').dataset.same = 'yes'")
    site.post("alpha", "hibernate")
    expect(state(page, "alpha")).to_have_text("hibernated")
    expect(page.get_by_role("button", name=re.compile("^hibernated 1$"))).to_be_visible()
    assert row(page, "alpha").get_attribute("data-same") == "yes"
    expect(link).to_be_focused()
    expect(row(page, "alpha").get_by_label("Select alpha")).to_be_checked()
    site.ask("hub/modules/beta", "DELETE")
    expect(row(page, "beta")).to_have_count(0)
    expect(page.locator("#totals")).to_have_text(re.compile("^1 module"))


def test_a_crash_shows_within_a_second(site: Site, page: Page) -> None:
    """Between `kill -9` of an instance and the word "crashed" on the page lies less than a second."""
    site.hub.provision("alpha")
    kill(site, "alpha")
    wait_until(lambda: site.hub.module("alpha").restarts == 1 and site.hub.module("alpha").state == "provisioned")
    expect(state(page, "alpha")).to_have_text("provisioned")
    began = time.monotonic()
    kill(site, "alpha")
    expect(state(page, "alpha")).to_have_text("crashed")
    took = time.monotonic() - began
    print(f"a crash shows after {took * 1000:.0f} ms")
    assert took < 1.0
    expect(row(page, "alpha").locator(".col-last_error")).to_contain_text("SIGKILL")
    expect(page.locator("#announcer")).to_have_text("alpha crashed")
    expect(row(page, "alpha").locator(".col-restarts")).to_have_text("1")


def test_every_button_of_a_row_does_what_it_says(site: Site, page: Page) -> None:
    """Hibernate, wake, checkpoint, deprovision and provision are asked by their buttons, and what is open follows."""
    site.hub.provision("alpha", kind="talker")

    def press(name: str) -> None:
        row(page, "alpha").get_by_role("button", name=f"{name} alpha", exact=True).click()

    def offered() -> list[str]:
        buttons = row(page, "alpha").locator(".row-actions button")
        requests: list[str] = buttons.evaluate_all("all => all.map(one => one.dataset.request)")
        return requests

    expect(state(page, "alpha")).to_have_text("provisioned")
    assert offered() == ["hibernate", "checkpoint", "deprovision", "obliterate"]
    press("Hibernate")
    expect(state(page, "alpha")).to_have_text("hibernated")
    expect(page.locator(".notice").last).to_contain_text("alpha is hibernated")
    assert offered() == ["wake", "checkpoint", "deprovision", "obliterate"]
    press("Checkpoint")
    expect(page.locator(".notice").last).to_contain_text("alpha has a copy")
    expect(row(page, "alpha").locator(".col-checkpointed_at")).to_contain_text(re.compile("just now|ago"))
    press("Wake")
    expect(state(page, "alpha")).to_have_text("provisioned")
    press("Deprovision")
    expect(row(page, "alpha")).to_have_count(0)
    expect(page.locator(".notice").last).to_contain_text("alpha is deprovisioned")
    expect(page.get_by_role("heading", name="No module yet")).to_be_visible()


def test_a_crashed_module_is_brought_up_by_its_button(site: Site, page: Page) -> None:
    """On a crashed module only provision, deprovision and obliterate are open; provision recovers it."""
    site.hub.provision("alpha")
    crash(site, "alpha")
    buttons = row(page, "alpha").locator(".row-actions button")
    expect(buttons).to_have_count(3)
    row(page, "alpha").get_by_role("button", name="Provision alpha", exact=True).click()
    expect(state(page, "alpha")).to_have_text("provisioned")


def test_a_refusal_is_told_with_its_hint(site: Site, page: Page, complaints: Complaints) -> None:
    """What the hub refuses is shown with its reason and what to do next, and stays until it is closed."""
    complaints.expect("status of 409")
    site.hub.provision("kept")
    site.hub.deprovision("kept")
    page.get_by_role("button", name="Provision…").click()
    page.get_by_label("Name").fill("kept")
    page.get_by_label("Kind", exact=True).last.select_option("talker")
    with page.expect_response("**/hub/modules/kept/provision") as answer:
        page.get_by_role("dialog").get_by_role("button", name="Provision").click()
    problem = answer.value.json()
    notice = page.locator(".notice.error")
    expect(notice).to_contain_text("Provision failed: kept")
    expect(notice).to_contain_text(problem["detail"])
    if problem.get("hint"):
        expect(notice).to_contain_text(problem["hint"])
    assert notice.get_attribute("role") == "alert"
    notice.get_by_role("button", name="Close this notice").click()
    expect(notice).to_have_count(0)


def test_a_time_to_wait_is_shown(page: Page, complaints: Complaints) -> None:
    """`Retry-After` of a refusal is told in words."""
    complaints.expect("status of 503")
    page.route(
        "**/hub/modules/full/provision",
        lambda route: route.fulfill(
            status=503,
            content_type="application/problem+json",
            headers={"Retry-After": "7"},
            json={"code": "budget-exceeded", "title": "t", "detail": "no room", "hint": "wait", "status": 503},
        ),
    )
    page.get_by_role("button", name="Provision…").click()
    page.get_by_label("Name").fill("full")
    page.get_by_role("dialog").get_by_role("button", name="Provision").click()
    expect(page.locator(".notice.error")).to_contain_text("Try again in 7 s.")


def test_headers_sort_and_say_so(site: Site, page: Page) -> None:
    """A click on a header sorts, a second one turns it round; `aria-sort` and the address tell."""
    for name in ("b", "a", "c"):
        site.hub.provision(name)
    site.hub.hibernate("b")
    expect(page.locator("tbody tr")).to_have_count(3)
    head = page.locator("th.col-module_id")
    expect(head).to_have_attribute("aria-sort", "ascending")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page.locator("tbody tr").first).to_have_attribute("data-id", "c")
    assert shown(page) == ["c", "b", "a"]
    page.locator("th.col-state").get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "none")
    expect(page.locator("tbody tr").first).to_have_attribute("data-id", "b")
    assert page.url.endswith("?sort=state")
    page.go_back()
    expect(page.locator("tbody tr").first).to_have_attribute("data-id", "c")
    page.reload()
    expect(page.locator("tbody tr").first).to_have_attribute("data-id", "c")


def test_filters_are_in_the_address_and_come_back_with_it(site: Site, page: Page) -> None:
    """States with their counts, kind, dirty data and a search narrow the list; the address alone brings that back."""
    site.hub.provision("web-1", kind="talker")
    site.hub.provision("web-2", kind="talker")
    site.hub.provision("db-1")
    site.hub.hibernate("web-2")
    page.get_by_role("button", name=re.compile("^provisioned 2$")).click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Kind").select_option("talker")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert shown(page) == ["web-1"]
    page.get_by_role("button", name=re.compile("^provisioned 2$")).click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("WEB-2")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "search=WEB-2" in page.url
    assert "kind=talker" in page.url
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_label("Search modules")).to_have_value("WEB-2")
    page.get_by_label("dirty only").check()
    page.get_by_label("Search modules").fill("nothing-like-it")
    expect(page.get_by_role("heading", name="No module matches")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("tbody tr")).to_have_count(3)


def test_several_can_be_selected_and_each_has_its_outcome(site: Site, page: Page) -> None:
    """Shift-click selects a range, a header box the page; a bulk operation tells for each how it went."""
    for name in ("a", "b", "c", "d"):
        site.hub.provision(name)
    crash(site, "b")
    expect(state(page, "b")).to_have_text("crashed")
    page.get_by_label("Select a", exact=True).click()
    page.get_by_label("Select c", exact=True).click(modifiers=["Shift"])
    expect(page.get_by_text("3 modules selected")).to_be_visible()
    take_picture(page, "selection")
    page.get_by_role("button", name="Hibernate the selected modules").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Hibernate: 2 modules done, 1 failed")
    outcomes = dialog.locator(".outcomes li")
    expect(outcomes.nth(0)).to_contain_text("b")
    expect(outcomes.nth(0)).to_have_class("failed")
    expect(outcomes.nth(0).locator(".detail")).to_contain_text("crashed")
    expect(outcomes.nth(1)).to_contain_text("is hibernated")
    take_picture(page, "outcomes")
    dialog.get_by_role("button", name="Close").last.click()
    page.get_by_label("Select all on this page").check()
    expect(page.get_by_text("4 modules selected")).to_be_visible()
    page.get_by_role("button", name="Provision the selected modules", exact=True).click()
    expect(dialog.get_by_role("heading")).to_have_text("Provision: 4 modules done")
    page.keyboard.press("Escape")
    for request in ("Checkpoint", "Hibernate", "Wake", "Deprovision"):
        page.get_by_role("button", name=f"{request} the selected modules", exact=True).click()
        expect(dialog.get_by_role("heading")).to_contain_text(f"{request}: ")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
    expect(page.locator("tbody tr")).to_have_count(0)
    page.get_by_role("button", name="End the selection").click()
    expect(page.locator(".selection")).to_be_hidden()


def test_running_operations_show_how_far_they_are(site: Site, page: Page) -> None:
    """An operation that takes long stands in a panel with a bar, bytes, files and rate, and goes when it has ended."""
    running = {
        "op_id": "1" * 16, "module_id": "big", "operation": "provision", "status": "running", "step": "hydrate",
        "duration_s": 3.0, "bytes_done": 250_000_000, "bytes_total": 1_000_000_000, "files_done": 3, "files_total": 12,
        "error": None, "error_code": None, "asked_by": "ci",
    }  # fmt: skip
    answers = [{"operations": [running]}]
    page.route("**/hub/operations", lambda route: route.fulfill(json=answers[-1]))
    site.hub.provision("alpha")
    panel = page.locator(".operations")
    expect(panel).to_contain_text("1 operation running")
    expect(panel).to_contain_text("big")
    expect(panel).to_contain_text("250 MB of 1.0 GB · 3/12 files")
    expect(panel.get_by_role("progressbar", name="provision of big")).to_have_attribute("value", "0.25")
    answers.append({"operations": [running | {"bytes_done": 400_000_000}]})
    expect(panel).to_contain_text("/s")
    take_picture(page, "operations")
    page.set_viewport_size({"width": 1280, "height": 400})
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    shown, row_box = panel.bounding_box(), page.locator(".pager").bounding_box()
    assert shown is not None
    assert row_box is not None
    assert row_box["y"] + row_box["height"] <= shown["y"], "the end of the page can be scrolled clear of it"
    take_picture(page, "operations-at-the-end")
    answers.append({"operations": []})
    expect(panel).to_be_hidden()


def test_a_real_transfer_is_followed(site: Site, page: Page) -> None:
    """While the hub sends much data to the backend, its events alone move the bar, and its end is told."""
    info = site.hub.provision("bulky")
    assert info.data_dir is not None
    (info.data_dir / "data").write_bytes(os.urandom(200_000_000))
    site.hub.hibernate("bulky")
    page.evaluate("""
      window.amounts = new Set();
      new MutationObserver(() => {
        const amount = document.querySelector(".operations .amount")?.textContent;
        if (amount) window.amounts.add(amount);
      }).observe(document.querySelector(".operations"), { childList: true, subtree: true, characterData: true });
    """)
    page.route("**/hub/operations", lambda route: route.fulfill(json={"operations": []}))
    row(page, "bulky").get_by_role("button", name="Checkpoint bulky").click()
    expect(page.locator(".notice").last).to_contain_text("bulky has a copy of its data in the backend")
    amounts: list[str] = page.evaluate("[...window.amounts]")
    assert any(re.match(r"[\d.]+ MB of 200 MB", amount) for amount in amounts), amounts
    expect(page.locator(".operations")).to_be_hidden()


def test_the_colours_can_be_chosen_and_are_kept(page: Page) -> None:
    """The switch goes from the system's colours to light, dark and back; a choice outlives the page."""
    switch = page.locator("#theme")
    expect(switch).to_have_accessible_name("Colours: the system's")
    switch.click()
    expect(switch).to_have_accessible_name("Colours: light")
    switch.click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(17, 21, 27)"
    switch.click()
    expect(page.locator("html")).not_to_have_attribute("data-theme", "dark")
