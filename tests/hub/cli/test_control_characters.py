"""What others wrote does nothing to the terminal of who reads it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from hub.cli.serve.log import logging_to
from hub.events import LOGGER_NAME, EventBus
from tests.hub.cli.serving import served

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp"


@contextmanager
def log_for_a_person(path: Path) -> Generator[None]:
    """The log as a person has it, in a file of its own."""
    loggers = [logging.getLogger(), logging.getLogger(LOGGER_NAME)]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    raises = logging.raiseExceptions
    with path.open("w") as stream, logging_to(stream, "console"):
        yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    logging.raiseExceptions = raises


def test_a_path_writes_nothing_into_the_log_of_a_terminal(tmp_path: Path) -> None:
    """Whoever asks, without a token too, chooses the path: no line is forged and no terminal steered by it."""
    forged = "\n2026-11-23T00:00:00Z [info     ] module.obliterated"
    with log_for_a_person(tmp_path / "log"):
        EventBus().publish_from_thread("http.refused", path=f"/{EVIL}", client=EVIL + forged, code="forbidden")
    text = (tmp_path / "log").read_text()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    assert r"\x1b" in text


def test_the_output_of_a_server_steers_no_terminal(tmp_path: Path) -> None:
    """The last lines of one that did not start are told with their controls spelt out."""
    program = tmp_path / "evil.py"
    program.write_text(f"import sys\nsys.stdout.buffer.write({EVIL.encode()!r} + b'\\nand more\\n')\nsys.exit(3)\n")
    with served(tmp_path, config=f'[kinds.evil]\ncommand = ["{sys.executable}", "{program}"]\n') as hub:
        refused = hub.cli("provision", "alpha", "--kind", "evil")
    assert refused.returncode == 1
    assert r"\x1b]0;owned\x07" in refused.stderr
    assert "\n    and more\n" in refused.stderr
    assert refused.stderr.replace("\n", "").isprintable()
