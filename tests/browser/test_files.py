"""The files themselves: what a reader of the package may count on."""

from __future__ import annotations

import re
from importlib.resources import files

FOLDER = files("hub") / "dashboard"
TEXTS = {entry.name: entry.read_text() for entry in FOLDER.iterdir() if entry.name.endswith((".js", ".css", ".html"))}


def test_the_page_names_every_file() -> None:
    """Each script and style is linked by the page, none is missing, and each stands in one place of its own."""
    linked = re.findall(r'"\./dashboard/([\w.]+)"', TEXTS["index.html"])
    assert {name for name in linked if name != "mark.svg"} == TEXTS.keys() - {"index.html"}
    assert len(linked) == len(set(linked)) + linked.count("mark.svg") - 1


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    """The strict policy has nothing to forbid: no inline script, style or handler, no other origin, no HTML from text."""
    assert re.findall(r"<script>|<style|\sstyle=|\son\w+=", TEXTS["index.html"]) == []
    for name, text in TEXTS.items():
        allowed = text.replace("http://www.w3.org/2000/svg", "")
        found = re.findall(
            r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|@import", allowed
        )
        assert found == [], name


def test_the_files_are_small() -> None:
    """One job each: no file is longer than 300 lines."""
    assert {name: len(text.splitlines()) for name, text in TEXTS.items() if len(text.splitlines()) > 300} == {}
