"""The command itself: help, version, and how it fails."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hub import InvalidConfig, InvalidState, KindMismatch, ModhubError, ProvisionFailed, __version__
from hub.cli import main
from hub.cli.application import COMMANDS, modhub
from hub.cli.terminal import ASCII, UNICODE, Terminal, duration, size
from tests.hub.cli.conftest import clean_environment


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints name and version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"modhub {__version__}\n"


def test_help_names_every_command_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` lists each command and shows examples, in 80 columns."""
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {command.name} " in text for command in COMMANDS)
    assert "Examples:" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "error: no such command 'frobnicate'"),
        (["demo", "--kind", "oracle"], "error: invalid value for '--kind': 'oracle' is not one of 'store', 'redis'"),
        (["doctor", "--nope"], "error: no such option '--nope'"),
    ],
)
def test_wrong_usage_is_one_line_and_a_hint(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Wrong usage ends with exit code 2, one line of error and where to read more, on stderr."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    error, hint = captured.err.splitlines()
    assert error.startswith(message.partition(" '")[0])
    assert hint.endswith("--help")


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the help goes to stderr, with exit code 2."""
    assert main([]) == 2
    assert "Usage: modhub" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ModhubError("it broke"), 1, "error: it broke\n"),
        (InvalidConfig("bad key", hint="allowed: x"), 2, "error: bad key\nhint: allowed: x\n"),
        (InvalidState("not now"), 3, "error: not now\n"),
        (KindMismatch("it is redis"), 3, "error: it is redis\n"),
        (ProvisionFailed("no", output="a\nb", hint="do"), 1, "error: no\nits last output:\n    a\n    b\nhint: do\n"),
    ],
)
def test_the_hubs_errors_become_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: ModhubError, code: int, text: str
) -> None:
    """An error of the hub is told on stderr without a traceback, and its type decides the exit code."""

    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setitem(modhub.commands, "failing", failing)
    assert main(["failing"]) == code
    assert capsys.readouterr().err == text


@pytest.mark.e2e
def test_a_reader_that_leaves_early_is_no_traceback(scratch: Path) -> None:
    """When the reader of a pipe goes away, the demo tidies up and ends without a traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "hub.cli", "demo"],
        env=clean_environment(scratch, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
    assert list(scratch.iterdir()) == []


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_that_want_it() -> None:
    """Colours are used on a terminal, unless NO_COLOR or TERM=dumb says otherwise, and never elsewhere."""
    assert Terminal.of(_Screen(), {}).colour
    assert Terminal.of(_Screen(), {"NO_COLOR": ""}).colour
    assert not Terminal.of(_Screen(), {"NO_COLOR": "1"}).colour
    assert not Terminal.of(_Screen(), {"TERM": "dumb"}).colour
    assert not Terminal.of(io.StringIO(), {}).colour


def test_symbols_follow_the_encoding() -> None:
    """Marks beyond ASCII are used only where the stream can write them; other text never fails to be written."""
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert Terminal.of(latin, {}).symbols is ASCII
    Terminal.of(latin, {}).write("folder ✓")
    assert Terminal.of(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), {}).symbols is UNICODE
    latin.seek(0)
    assert latin.read() == "folder ?\n"


def test_amounts_are_for_people() -> None:
    """Sizes and durations are shown in the unit that fits."""
    assert [size(n) for n in (0, 999, 1000, 999_949, 999_950, 2_500_000_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "999.9 kB",
        "1.0 MB",
        "2.5 TB",
    ]
    assert [duration(s) for s in (0.0004, 0.9994, 0.9995, 61.0)] == ["0 ms", "999 ms", "1.00 s", "61.00 s"]
