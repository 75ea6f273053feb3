"""A module's own page."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from hub import Hub
from tests.browser.conftest import Complaints, MakeSite, OpenPage, take_picture
from tests.browser.kinds import talker, tiny
from tests.browser.serving import Site
from tests.browser.test_list import crash


def say(site: Site, module_id: str, text: str) -> None:
    url = site.hub.module(module_id).url
    assert url is not None
    with urllib.request.urlopen(urllib.request.Request(url, data=text.encode(), method="POST"), timeout=10):
        pass


@pytest.fixture
def alpha(site: Site, page: Page) -> Page:
    """The page of a module that runs, come to by its link."""
    site.hub.provision("alpha", kind="talker")
    page.get_by_role("link", name="alpha", exact=True).click()
    expect(page.get_by_role("heading", name="alpha", level=1)).to_be_focused()
    return page


def test_its_facts_and_its_ways_are_shown(site: Site, alpha: Page) -> None:
    """Kind, address, process and directory stand there, with a link through the hub's proxy; the address names it."""
    info = site.hub.module("alpha")
    facts = alpha.locator(".facts")
    for text in ("talker", f"{info.host}:{info.port}", f"pid {info.pid}", str(info.data_dir)):
        expect(facts).to_contain_text(text)
    expect(facts.get_by_role("link")).to_have_attribute("href", f"http://alpha.localhost:{site.port}/")
    assert alpha.url == f"{site.url}/modules/alpha"
    alpha.reload()
    expect(alpha.get_by_role("heading", name="alpha", level=1)).to_be_visible()
    expect(alpha.locator(".facts")).to_contain_text("talker")
    alpha.get_by_role("link", name="All modules", exact=True).click()
    expect(alpha.locator("tbody tr")).to_have_count(1)
    alpha.go_back()
    expect(alpha.get_by_role("heading", name="alpha", level=1)).to_be_visible()


def test_its_gateway_is_shown(site: Site, alpha: Page, open_page: OpenPage) -> None:
    """The stable port of a module with a gateway stands in the list, and on its page with the host to call it by."""

    def with_gateway(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"gateway_port": 7001})

    def all_with_gateway(route: Route) -> None:
        body: dict[str, Any] = route.fetch().json()
        route.fulfill(json=body | {"modules": [module | {"gateway_port": 7001} for module in body["modules"]]})

    alpha.route("**/hub/modules/alpha", with_gateway)
    expect(alpha.locator(".facts")).to_contain_text("Gateway127.0.0.1:7001")
    page = open_page(viewport={"width": 1500, "height": 800})
    page.route("**/hub/status?*", all_with_gateway)
    page.goto(f"{site.url}/")
    expect(page.locator("td.col-gateway_port")).to_have_text("7001")


def test_its_server_is_reached_through_the_hub(site: Site, alpha: Page) -> None:
    """The link opens the module's own server in another tab, and wakes it where it sleeps."""
    site.hub.hibernate("alpha")
    with alpha.context.expect_page() as opened:
        alpha.locator(".facts").get_by_role("link").click()
    expect(opened.value.locator("body")).to_have_text("OK")
    expect(alpha.locator(".module-head .state")).to_have_text("provisioned")


def test_its_buttons_work_and_the_timeline_follows(alpha: Page, complaints: Complaints) -> None:
    """Each operation is asked by its button; transitions appear at the top of the timeline without reloading."""
    complaints.expect("status of 404")
    timeline = alpha.locator(".timeline")
    expect(timeline.locator("[data-name='module.transition']").first).to_contain_text("provisioned")
    alpha.get_by_role("button", name="Hibernate alpha").click()
    expect(alpha.locator(".module-head .state")).to_have_text("hibernated")
    expect(timeline.locator("li").first).to_contain_text("hibernated")
    expect(timeline).to_contain_text("hibernate requested")
    alpha.get_by_role("button", name="Checkpoint alpha").click()
    expect(timeline.locator("li").first).to_contain_text("checkpoint completed")
    alpha.get_by_role("button", name="Wake alpha").click()
    expect(alpha.locator(".module-head .state")).to_have_text("provisioned")
    expect(timeline.locator("li").first).to_contain_text("waking → provisioned")
    expect(timeline.locator("time").first).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    alpha.get_by_role("button", name="Deprovision alpha").click()
    expect(alpha.get_by_role("heading", name="Not tracked")).to_be_visible()
    expect(alpha.locator(".facts")).to_be_hidden()
    alpha.get_by_role("button", name="Provision alpha").click()
    expect(alpha.locator(".module-head .state")).to_have_text("provisioned")


def test_its_last_error_and_its_crash_are_shown(site: Site, alpha: Page) -> None:
    """When its process is killed the badge, the last error and the timeline say so."""
    told = alpha.locator(".timeline [data-name='module.crashed']")
    expect(alpha.locator(".timeline li").first).to_be_visible()
    before = told.count()
    crash(site, "alpha")
    expect(alpha.locator(".module-head .state")).to_have_text("crashed")
    expect(alpha.locator(".last-error")).to_contain_text("SIGKILL")
    expect(told).to_have_count(before + 2)


def test_its_output_is_followed_until_paused(site: Site, alpha: Page) -> None:
    """New lines appear by themselves, not while paused, and then all of them."""
    log = alpha.get_by_role("region", name="Output")
    say(site, "alpha", "first words")
    expect(log).to_contain_text("first words")
    button = alpha.get_by_role("button", name="Pause")
    button.click()
    expect(alpha.locator(".log-foot")).to_contain_text("paused")
    say(site, "alpha", "said meanwhile")
    with pytest.raises(AssertionError):
        expect(log).to_contain_text("said meanwhile", timeout=1200)
    alpha.get_by_role("button", name="Resume").click()
    expect(log).to_contain_text("first words\nsaid meanwhile")
    say(site, "alpha", "\n".join(f"line {n}" for n in range(400)))
    expect(log).to_contain_text("line 399")
    assert log.evaluate("log => log.scrollTop + log.clientHeight >= log.scrollHeight - 2")


def test_use_over_time_is_drawn(site: Site, alpha: Page) -> None:
    """Samples of memory and CPU become lines with a scale, whose label says them in words; pointing tells one."""
    samples = [{"at": 1.8e9 + n, "memory_bytes": (20 + n) * 1_000_000, "cpu_percent": 2.0 * n} for n in range(60)]
    alpha.route("**/hub/modules/alpha/usage", lambda route: route.fulfill(json={"samples": samples}))
    memory = alpha.get_by_role("img", name=re.compile("^Memory from .* now 79.0 MB, between 20.0 MB and 79.0 MB$"))
    expect(memory).to_be_visible()
    expect(alpha.get_by_role("img", name=re.compile("^CPU .* now 118 %"))).to_be_visible()
    expect(alpha.locator(".chart").first).to_contain_text("of 100 MB")
    assert len((memory.locator(".line").get_attribute("d") or "").split("L")) == 60
    memory.hover(position={"x": 1, "y": 20})
    expect(alpha.locator(".chart").first).to_contain_text("20.0 MB at")
    take_picture(alpha, "charts", full_page=True)


def test_use_is_sampled_and_drawn_live(site: Site, alpha: Page) -> None:
    """The hub's own samples of a real process reach facts and chart, and the line grows."""
    memory = alpha.get_by_role("img", name=re.compile(r"^Memory from .* now [\d.]+ MB"))
    expect(memory).to_be_visible()
    expect(alpha.locator(".facts")).to_contain_text(re.compile(r"Memory[\d.]+ MB"))
    points = len((memory.locator(".line").get_attribute("d") or "").split("L"))
    alpha.wait_for_function(
        "points => document.querySelector('.line.memory').getAttribute('d').split('L').length > points", arg=points
    )


def test_its_transfers_are_shown(alpha: Page) -> None:
    """An operation on the module shows its bytes on its page; one on another module does not."""
    running = {
        "op_id": "1" * 16, "module_id": "alpha", "operation": "checkpoint", "status": "running", "step": "send",
        "duration_s": 3.0, "bytes_done": 1_000_000, "bytes_total": 4_000_000, "files_done": 0, "files_total": 0,
        "error": None, "error_code": None, "asked_by": "",
    }  # fmt: skip
    other = running | {"op_id": "2" * 16, "module_id": "beta"}
    alpha.route("**/hub/operations", lambda route: route.fulfill(json={"operations": [running, other]}))
    alpha.get_by_role("button", name="Hibernate alpha").click()
    progress = alpha.locator(".progress")
    expect(progress).to_contain_text("1 operation running")
    expect(progress.get_by_role("progressbar", name="checkpoint of alpha")).to_have_attribute("value", "0.25")
    expect(alpha.locator(".operations")).to_contain_text("beta")


def test_that_it_is_obliterated_meanwhile_is_said(site: Site, alpha: Page, complaints: Complaints) -> None:
    """When somebody else obliterates it, its page says so and what went, and offers only what is left to do."""
    complaints.expect("status of 404")
    site.ask("hub/modules/alpha", "DELETE")
    gone = alpha.locator(".gone")
    expect(gone).to_contain_text("Obliterated")
    expect(gone).to_contain_text("Nothing of alpha is left")
    expect(alpha.locator(".facts")).to_be_hidden()
    expect(alpha.locator(".module-head button")).to_have_text(["Provision", "Obliterate"])
    take_picture(alpha, "gone")


def test_a_name_that_nothing_tracks_has_a_page(site: Site, open_page: OpenPage, complaints: Complaints) -> None:
    """An address of an unknown module says that it is not tracked, and offers to provision or obliterate it."""
    complaints.expect("status of 404")
    page = open_page(f"{site.url}/modules/nobody")
    expect(page.get_by_role("heading", name="Not tracked")).to_be_visible()
    page.get_by_role("button", name="Provision nobody").click()
    expect(page.locator(".module-head .state")).to_have_text("provisioned")


def test_hostile_text_is_only_shown(make_site: MakeSite, make_hub: Callable[..., Hub], open_page: OpenPage) -> None:
    """Markup and terminal codes in output, errors, kinds and reasons are text: nothing of them runs or is parsed."""
    evil = "<img src=x onerror=alert(1)>"
    site = make_site(hub=make_hub(kinds=[tiny(), talker("evil", "--hostile")]))
    site.hub.provision("talks", kind="evil")
    page = open_page(f"{site.url}/")
    page.route("**/hub/kinds", lambda route: route.fulfill(json={"kinds": [evil], "default": evil}))

    def rename(route: Route) -> None:
        answer = route.fetch()
        body: dict[str, Any] = answer.json()
        body["modules"] = [module | {"kind": evil, "last_error": f"{evil}\nsecond line"} for module in body["modules"]]
        route.fulfill(json=body)

    page.route("**/hub/status?*", rename)
    page.reload()
    expect(page.locator(".col-kind").last).to_have_text(evil)
    expect(page.locator("td.col-last_error")).to_have_text(evil)
    expect(page.get_by_label("Kind").locator("option").last).to_have_text(evil)
    page.get_by_role("link", name="talks").click()
    log = page.get_by_role("region", name="Output")
    expect(log).to_contain_text("<script>document.title = 'owned'</script>")
    expect(log).to_contain_text("red and plain")
    assert "\x1b" not in log.inner_text()
    expect(page.locator("#injected")).to_have_count(0)
    expect(page.locator("img:not(.brand img)")).to_have_count(0)
    assert page.title() == "talks · modhub"
