"""Rules about the tests and the sources themselves, which no linter has."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
SOURCES = sorted(path for package in ("actors", "backends", "hub") for path in (ROOT / package).rglob("*.py"))
SUPPRESSION = re.compile(r"noqa|type:\s*ignore|pyright:\s*ignore|pragma:\s*no cover")
# What is left of a comment without the suppressions themselves: the reason.
DIRECTIVE = re.compile(
    r"noqa(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*)?|(type|pyright):\s*ignore(\[[\w\s,-]*\])?|pragma:\s*no cover"
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def reason(comment: str) -> str:
    return DIRECTIVE.sub("", comment).strip("# -:")


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_every_test_states_the_behaviour_it_proves(path: Path) -> None:
    """Each test function has a docstring of a whole sentence, so that a failure says what is broken."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    silent = [f.name for f in functions if not (ast.get_docstring(f) or "").strip()]
    assert not silent, f"{name(path)}: no docstring in {', '.join(silent)}"
    mumbling = [f.name for f in functions if not re.search(r"[.?!:][)\"'`]*$", ast.get_docstring(f) or "")]
    assert not mumbling, f"{name(path)}: no sentence in {', '.join(mumbling)}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_suppression_has_a_reason(path: Path) -> None:
    """A silenced check says on its own line why it is right to silence it."""
    bare = [
        f"{name(path)}:{line}"
        for line, comment in comments(path.read_text())
        if SUPPRESSION.search(comment) and len(reason(comment)) < 7
    ]
    assert not bare, f"no reason given: {', '.join(bare)}"


def test_every_ignored_rule_has_a_reason() -> None:
    """Rules that are off for the whole project, or for a folder, say why beside them."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("[tool.ruff.lint]")
    end = lines.index("[tool.ruff.lint.pydocstyle]")
    silenced = re.compile(r'\s+"[A-Z]+\d*",|".*" = \[.*"\]')
    # Beside the rule, or on the line above it.
    rules = [(above + line, line) for above, line in pairwise(lines[start:end]) if silenced.match(line)]
    assert len(rules) > 20
    assert [line for context, line in rules if len((line if "#" in line else context).partition("#")[2]) < 8] == []


@pytest.mark.parametrize(
    ("comment", "given"),
    [
        ("# noqa: SLF001", False),
        ("# noqa: SLF001, B009", False),
        ("# noqa", False),
        ("# type: ignore[misc] # pyright: ignore[reportX]", False),
        ("# noqa: SLF001 - the documented way", True),
        ("# type: ignore[misc] # what is proven", True),
        ("# pragma: no cover - the platform of the tests is Linux", True),
    ],
)
def test_a_reason_is_told_from_a_directive(comment: str, given: bool) -> None:
    """The rule above sees a reason where there is one, and none in the directives themselves."""
    assert (len(reason(comment)) >= 7) is given
