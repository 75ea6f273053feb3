"""The pages: the dashboard's files and the description of the API."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from hub import Hub
from hub._version import __version__
from hub.http import HttpConfig, create_app
from hub.http.app import CALLS
from hub.http.openapi import openapi
from tests.hub.http.conftest import Serve
from tests.hub.http.serving import tokens


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/modules/tenant-42", "text/html; charset=utf-8"),
        ("/dashboard/main.js", "text/javascript; charset=utf-8"),
        ("/dashboard/base.css", "text/css; charset=utf-8"),
        ("/dashboard/mark.svg", "image/svg+xml; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs.css", "text/css; charset=utf-8"),
    ],
)
def test_files_are_served_as_what_they_are(serve: Serve, path: str, media_type: str) -> None:
    """Each file has its media type, is asked for again each time, and is not sent twice to who has it."""
    served = serve(tokens=tokens())
    answer = served.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, media_type)
    assert answer.headers["cache-control"] == "no-cache"
    again = served.get(path, headers={"If-None-Match": f'"other", W/{answer.headers["etag"]}'})
    assert (again.status, again.body) == (304, b"")
    assert served.request("HEAD", path).body == b""


@pytest.mark.parametrize(
    "path", ["__init__.py", "..%2f__init__.py", "../hub.py", "%2e%2e/hub.py", "nothing.js", "", "a%00b"]
)
def test_no_other_file_can_be_had(serve: Serve, path: str) -> None:
    """Nothing but the dashboard's own files is there, however the path is written."""
    assert serve().get(f"/dashboard/{path}").status == 404


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in {"href", "src"}:
                self.links.append(value or "")
            elif name == "style" or name.startswith("on"):
                self.inline.append(name)
        if tag in {"script", "style"}:
            self.inline.append(tag)


def test_the_page_of_the_description(serve: Serve) -> None:
    """It tells of every call and every schema, its links lead somewhere, and nothing of it comes from elsewhere."""
    text = serve().get("/docs").body.decode()
    page = _Page()
    page.feed(text)
    assert {call.operation_id for call in CALLS} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert {link for link in page.links if not link.startswith("#")} == {
        "docs.css",
        "openapi.json",
        "dashboard/mark.svg",
    }
    assert page.inline == []
    assert __version__ in text
    assert "`" not in re.sub(r"<code>.*?</code>", "", text)


def test_the_description_says_what_the_calls_are(serve: Serve) -> None:
    """It has modhub's version, each call's stable name, its role, and no status twice; with tokens, how to send one."""
    description = serve(tokens=tokens()).get("/openapi.json").json()
    assert description["info"]["version"] == __version__
    told = {
        (method.upper(), path): call
        for path, methods in description["paths"].items()
        for method, call in methods.items()
    }
    assert told.keys() == {(call.method, call.path) for call in CALLS}
    assert len({call["operationId"] for call in told.values()}) == len(told)
    for call in CALLS:
        one = told[call.method, call.path]
        assert one["x-modhub-role"] == (call.role or "none")
        assert one.get("security", []) == ([{"bearer": []}] if call.role else [])
        assert ("401" in one["responses"]) == bool(call.role)
        assert "422" not in one["responses"]
        assert all(parameter.get("description") for parameter in one.get("parameters", ()))
    assert description["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_without_tokens_the_description_asks_for_none() -> None:
    """The description is of this application: where no token is needed it names none."""
    description = openapi(create_app(Hub("/nowhere", "file:///nowhere"), HttpConfig()))
    assert "securitySchemes" not in description["components"]
    assert not any("security" in call for methods in description["paths"].values() for call in methods.values())
