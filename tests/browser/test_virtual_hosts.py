"""Pages of instances in a real browser: what they can do, and that they can't act on the hub or on one another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from hub import Kind
from tests.browser.conftest import Complaints, MakeSite, OpenPage, take_picture
from tests.browser.serving import Site, wait_until


@pytest.fixture
def apps(make_hub: Any, make_site: MakeSite) -> Site:
    """Two web applications, `alpha` awake and `beta` asleep."""
    command = [sys.executable, str(Path(__file__).with_name("web_app.py")), "{port}"]
    hub = make_hub(kinds=[Kind("web", command, stop_timeout=5.0, start_timeout=20.0)], default_kind="web")
    hub.provision("alpha")
    hub.provision("beta")
    hub.hibernate("beta")
    return make_site(hub=hub)


def host(site: Site, name: str, scheme: str = "http") -> str:
    return f"{scheme}://{name}:{site.port}"


def test_an_application_works_on_its_virtual_host(apps: Site, open_page: OpenPage) -> None:
    """Script, call, WebSocket, cookie, link and form work as they do without the hub; the dashboard's link leads there."""
    dashboard = open_page(f"{apps.url}/modules/alpha")
    with dashboard.context.expect_page() as opened:
        dashboard.locator(".facts").get_by_role("link").click()
    page = opened.value
    assert page.url == host(apps, "alpha.localhost") + "/"
    expect(page.locator("#told")).to_have_text("count 1; visible visit=1; echo hello; session s3cret")
    assert page.evaluate("[window.origin, isSecureContext]") == [host(apps, "alpha.localhost"), True]
    take_picture(page, "virtual-host")
    page.get_by_role("link", name="second").click()
    expect(page.get_by_text("s3cret")).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="send").click()
    expect(page.get_by_text("s3cret")).to_be_visible()
    assert page.url == host(apps, "alpha.localhost") + "/second"
    page.evaluate("localStorage.setItem('kept', 'here')")
    page.reload()
    assert page.evaluate("localStorage.getItem('kept')") == "here"


def test_a_link_wakes_a_module(apps: Site, open_page: OpenPage) -> None:
    """Somebody who goes there from anywhere gets its page, though it slept."""
    page = open_page(host(apps, "beta.localhost"))
    expect(page.locator("#told")).to_contain_text("echo hello")
    assert apps.hub.module("beta").state == "provisioned"


ATTACKS = """async ({hubs, own, beta, betaSocket, betaPath}) => {
  const got = [];
  const attempt = async (name, work) => {
    try { const result = await work(); if (result) got.push(`${name}: ${result}`); } catch {}
  };
  const readable = async (answer) => answer.type !== "opaque" && `${answer.status} ${(await answer.text()).slice(0, 40)}`;
  const passed = async (answer) => answer.ok && readable(answer);
  for (const mode of ["cors", "no-cors", "same-origin", "navigate"]) {
    for (const hub of hubs) {
      for (const path of ["/hub/status", "/hub/events", "/stats/hub", "/openapi.json", "/"]) {
        await attempt(`GET ${hub}${path} ${mode}`, async () => readable(await fetch(hub + path, {mode, credentials: "include"})));
      }
      for (const [method, path] of [["POST", "/hub/modules/alpha/hibernate"], ["POST", "/hub/modules/beta/wake"],
          ["DELETE", "/hub/modules/beta"], ["POST", "/hub/bulk"]]) {
        for (const type of ["application/json", "text/plain"]) {
          const body = method === "POST" ? JSON.stringify({operation: "wake", module_ids: ["beta"]}) : undefined;
          await attempt(`${method} ${hub}${path} ${mode}`, async () =>
            readable(await fetch(hub + path, {method, mode, body, headers: {"Content-Type": type}, credentials: "include"})));
        }
      }
    }
    for (const url of [beta + "/count", betaPath + "count"]) {
      await attempt(`GET ${url} ${mode}`, async () => readable(await fetch(url, {mode, credentials: "include"})));
      await attempt(`POST ${url} ${mode}`, async () => readable(await fetch(url, {method: "POST", mode, credentials: "include"})));
    }
  }
  // Below its own name there is nothing of the hub: these are its instance's.
  if (own) {
    for (const path of ["/hub/status", "/hub/proxy/beta/", "/hub/modules/beta/wake"]) {
      await attempt(`own ${path}`, async () => passed(await fetch(path, {method: path.endsWith("wake") ? "POST" : "GET"})));
    }
  }
  const loads = (tag, property, url) => new Promise((done) => {
    const element = document.createElement(tag);
    element.onload = () => done(tag === "iframe" ? (() => { try { return element.contentDocument?.body && "scripted"; } catch { return null; } })() : "loaded");
    element.onerror = () => done(null);
    element[property] = url;
    if (tag === "link") element.rel = "stylesheet";
    document.body.append(element);
  });
  for (const url of [beta + "/static/app.js", betaPath + "static/app.js", ...hubs.map((hub) => hub + "/dashboard/main.js")]) {
    for (const [tag, property] of [["script", "src"], ["img", "src"], ["link", "href"], ["iframe", "src"]]) {
      await attempt(`${tag} ${url}`, () => loads(tag, property, url));
    }
  }
  for (const url of [betaSocket + "/socket", ...hubs.map((hub) => hub.replace("http", "ws") + "/hub/proxy/beta/socket")]) {
    await attempt(`socket ${url}`, () => new Promise((done) => {
      const socket = new WebSocket(url);
      socket.onopen = () => done("open");
      socket.onerror = () => done(null);
    }));
  }
  for (const action of [...hubs.map((hub) => hub + "/hub/modules/beta/wake"), beta + "/form", betaPath + "form"]) {
    const frame = document.createElement("iframe");
    frame.name = `frame${Math.random()}`;
    const form = Object.assign(document.createElement("form"), {method: "post", action, target: frame.name});
    document.body.append(frame, form);
    await new Promise((done) => { frame.onload = done; form.submit(); setTimeout(done, 1000); });
    await attempt(`form ${action}`, () => frame.contentDocument?.body.textContent);
  }
  for (const cookie of ["tossed=1; domain=localhost; path=/", "tossed=1; domain=.localhost", "tossed=1; domain=beta.localhost"]) {
    try { document.cookie = cookie; } catch {}
  }
  return got;
}"""


def attack(page: Page, site: Site, *, own: bool) -> list[str]:
    """Try all that a page can try; returns what worked."""
    got: list[str] = page.evaluate(
        ATTACKS,
        {
            "hubs": [host(site, "127.0.0.1"), host(site, "localhost")],
            "own": own,
            "beta": host(site, "beta.localhost"),
            "betaSocket": host(site, "beta.localhost", "ws"),
            "betaPath": host(site, "127.0.0.1") + "/hub/proxy/beta/",
        },
    )
    return got


def posts_in_a_window(page: Page, url: str) -> str:
    """Post a form into a window of its own; returns what that shows."""
    with page.context.expect_page() as opened:
        page.evaluate(
            """(action) => {
              const form = Object.assign(document.createElement("form"), {method: "post", action, target: "_blank"});
              document.body.append(form);
              form.submit();
            }""",
            url,
        )
    window = opened.value
    window.wait_for_load_state()
    return window.content()


# A window of its own each time: one that is about to show the hub's page, whose policy cuts it off from us, goes nowhere else.
OPENED = """async (url) => {
  const other = window.open(url, "_blank");
  for (let n = 0; n < 100; n++) {
    await new Promise((done) => setTimeout(done, 20));
    try {
      if (other === null || other.closed || other.location.href !== "about:blank") break;
    } catch { break; }
  }
  const got = [];
  const attempt = (name, work) => { try { work(); got.push(name); } catch {} };
  if (other !== null && !other.closed) {
    attempt("document", () => other.document.body);
    attempt("location", () => other.location.href);
    attempt("storage", () => other.localStorage);
    attempt("eval", () => other.eval("1"));
  }
  return got;
}"""


def last_event(site: Site) -> int:
    """Number of the hub's last event: nothing begins without one."""
    last: int = site.ask("hub/events?follow=false")["last"]
    return last


def cookies(context: BrowserContext) -> set[str]:
    return {f"{cookie.get('domain')}{cookie.get('path')}" for cookie in context.cookies()}


@pytest.mark.parametrize("form", ["virtual host", "path"])
def test_a_page_can_act_on_nothing_else(apps: Site, open_page: OpenPage, complaints: Complaints, form: str) -> None:
    """Not on the hub, by no name of it, nor on another module: calls, scripts, frames, forms, sockets, windows, cookies."""
    complaints.expect("")  # each refusal is one
    own = form == "virtual host"
    page = open_page(host(apps, "alpha.localhost") if own else f"{apps.url}/hub/proxy/alpha/")
    if own:
        expect(page.locator("#told")).to_contain_text("echo hello")
    before = last_event(apps)
    assert page.evaluate("window.origin") == (host(apps, "alpha.localhost") if own else "null")
    assert attack(page, apps, own=own) == []
    for url in (f"{host(apps, 'localhost')}/hub/modules/beta/wake", f"{host(apps, 'beta.localhost')}/form"):
        assert "module_id" not in posts_in_a_window(page, url)
    for name in ("127.0.0.1", "localhost"):
        assert page.evaluate(OPENED, host(apps, name) + "/") == []
    assert last_event(apps) == before
    assert apps.hub.module("beta").state == "hibernated"
    assert cookies(page.context) == {"alpha.localhost/" if own else "127.0.0.1/hub/proxy/alpha/"}
    # Somebody may be led to another module, and no further.
    assert page.evaluate(OPENED, host(apps, "beta.localhost") + "/") == []
    wait_until(lambda: apps.hub.module("beta").state == "provisioned")
    notes = apps.ask("hub/proxy/beta/notes")
    assert {seen for seen in notes["seen"] if seen.startswith("POST")} <= {"POST /count"}  # its own page's


def test_a_cookie_is_its_modules_alone(apps: Site, open_page: OpenPage) -> None:
    """What one module sets does not reach another one."""
    page = open_page(host(apps, "alpha.localhost"))
    expect(page.locator("#told")).to_contain_text("session s3cret")
    page.goto(host(apps, "beta.localhost") + "/second")
    expect(page.get_by_text("None")).to_be_visible()
