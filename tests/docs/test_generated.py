"""Pages that follow from the code are what the code says now."""

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hub
from docs import generate
from hub import messages
from hub.config import HubConfig
from hub.errors import ModhubError
from hub.events import VOCABULARY
from hub.lifecycle import Outcome, Request, State
from hub.policy import resolve
from hub.record import ModuleRecord

GENERATED = generate.generated()


def page(name: str) -> str:
    return GENERATED[generate.DOCS / name]


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_a_generated_page_is_up_to_date(path: Path) -> None:
    """What is committed is what the generator writes; where it is not, run `python docs/generate.py`."""
    assert path.read_text() == GENERATED[path], f"{path.name} is out of date: run `python docs/generate.py`"


def test_the_generator_runs_as_a_script(tmp_path: Path) -> None:
    """`python docs/generate.py` brings stale pages up to date, from any directory."""
    copy = tmp_path / "docs"
    shutil.copytree(generate.DOCS, copy, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    for path in GENERATED:
        stale = copy / path.relative_to(generate.DOCS)
        stale.write_text(stale.read_text().replace("provisioned", "stale"))
    subprocess.run([sys.executable, "-W", "error", str(copy / "generate.py")], cwd=tmp_path, check=True, timeout=60)
    for path, text in GENERATED.items():
        if path.name not in generate.PAGES_WITH_BLOCKS:  # their text around the blocks is nobody's but the author's
            assert (copy / path.relative_to(generate.DOCS)).read_text() == text


@pytest.mark.parametrize("block", generate.BLOCKS)
def test_every_block_stands_on_a_page(block: str) -> None:
    """What can be generated is shown somewhere, once."""
    shown = "".join(page(name) for name in generate.PAGES_WITH_BLOCKS)
    assert shown.count(f"<!-- generated: {block} -->") == 1
    assert shown.count(f"<!-- end of {block} -->") == 1


def test_a_changed_block_is_replaced_and_its_surroundings_are_not() -> None:
    """Only what stands between the marks follows from the code."""
    text = "before\n<!-- generated: states -->\nold\n<!-- end of states -->\nafter"
    filled = generate.fill(text)
    assert filled.startswith("before\n<!-- generated: states -->\n")
    assert filled.endswith("<!-- end of states -->\nafter")
    assert "old" not in filled
    assert "`provisioned`" in filled


def test_an_unknown_block_is_an_error() -> None:
    """A misspelt mark does not leave a block that is never updated."""
    with pytest.raises(KeyError, match="sattes"):
        generate.fill("<!-- generated: sattes --><!-- end of sattes -->")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(HubConfig)])
def test_every_key_is_documented(field: str) -> None:
    """The reference has a row for each configuration key."""
    assert f"\n| `{field}` |" in page("reference/configuration.md")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(hub.Kind) if field.name != "name"])
def test_every_key_of_a_kind_is_documented(field: str) -> None:
    """The reference has a row with a meaning for each field of a kind."""
    assert re.search(rf"\n\| `{field}` \| [^|]+ \| [^|]{{10,}}", page("reference/configuration.md"))


@pytest.mark.parametrize("name", VOCABULARY)
def test_every_event_is_documented(name: str) -> None:
    """The reference has one row for each name of the vocabulary, with its attributes."""
    rows = re.findall(rf"\n\| `{re.escape(name)}` \|.*", page("reference/events.md"))
    assert len(rows) == 1
    assert all(f"`{field}`" in rows[0] for field in VOCABULARY[name].fields)


@pytest.mark.parametrize("name", [n for n in hub.__all__ if isinstance(getattr(hub, n), type)])
def test_every_error_is_documented(name: str) -> None:
    """The reference has a row with code and meaning for each exported error, and for nothing else."""
    cls = getattr(hub, name)
    documented = re.search(rf"\n\| `{name}` \| `[a-z-]+` \| [^|]*\| [^|]{{10,}}", page("reference/errors.md"))
    assert bool(documented) is issubclass(cls, ModhubError)


@pytest.mark.parametrize("name", messages.__all__)
def test_every_message_is_documented(name: str) -> None:
    """The reference has a row for each message with its reply."""
    assert re.search(rf"\n\| `{name}\([^`]*\)` \| `[\w\[\], .]+` \|", page("reference/messages.md"))


def test_the_lifecycle_is_documented_whole() -> None:
    """The hub's page names every state, request and outcome, and every reason of a resolution."""
    text = page("hub.md")
    for name in (*State, *Request, *Outcome):
        assert f"`{name}`" in text
    for state in State:
        for dirty in (False, True):
            reason = resolve(ModuleRecord("m", state=state, dirty=dirty)).reason.replace("_", " ")
            assert f"({reason})" in text


def test_no_page_depends_on_the_machine() -> None:
    """The number of processors, paths and versions of the generating machine stand on no page."""
    for path, text in GENERATED.items():
        assert str(Path.home()) not in text, path
        assert "0x" not in text, path
    assert "two for each CPU" in page("reference/configuration.md")
