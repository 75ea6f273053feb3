"""The dashboard's table of open requests is the hub's own."""

from __future__ import annotations

from playwright.sync_api import Page

from hub.lifecycle import Alongside, Begin, Condition, Request, State, Wait, decide
from tests.browser.serving import Site


def test_the_table_of_open_requests_is_the_hubs(site: Site, page: Page) -> None:
    """What the page offers begins something by the hub's own judgement, or waits its turn; nothing that would is left out."""
    table = page.evaluate(f"import('{site.url}/dashboard/lifecycle.js').then((it) => ({{...it}}))")
    asked = [request for request in Request if request is not Request.RECOVER]
    assert set(table["STATES"]) == set(State)
    assert set(table["REQUESTS"]) == set(asked)

    def opens(state: State, request: Request, *, dirty: bool) -> bool:
        return isinstance(decide(Condition(state, dirty=dirty), request), Begin | Alongside)

    for state in State:
        for dirty in (False, True):
            offered = page.evaluate(
                "([url, module]) => import(url).then((it) => it.openTo(module))",
                [f"{site.url}/dashboard/lifecycle.js", {"state": state, "dirty": dirty}],
            )
            if state.stable:
                assert set(offered) == {request for request in asked if opens(state, request, dirty=dirty)}, (
                    state,
                    dirty,
                )
            else:
                assert all(isinstance(decide(Condition(state), Request(request)), Wait) for request in offered)
