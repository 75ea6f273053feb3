"""The log of `modhub serve`: whoever reads it, or does not, holds nobody up."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.cli.serve.log_writer import LogWriter
from hub.events import LOGGER_NAME
from tests.hub.cli.conftest import clean_environment
from tests.hub.cli.serving import command, until


@contextmanager
def narrow_pipe() -> Generator[tuple[int, int]]:
    """The ends of a pipe that takes no more than a page."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield reader, writer
    finally:
        for end in (reader, writer):
            os.close(end)


def say(text: str) -> None:
    logging.getLogger(LOGGER_NAME).warning(text)


@contextmanager
def writing(descriptor: int, limit: int) -> Generator[LogWriter]:
    logger, handler = logging.getLogger(LOGGER_NAME), LogWriter(descriptor, limit)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        handler.close()


def read(descriptor: int, last: str) -> list[str]:
    text = ""
    while not text.endswith(f"{last}\n"):
        text += os.read(descriptor, 65536).decode()
    return text.splitlines()


def test_records_are_written_in_order_until_it_is_closed(tmp_path: Path) -> None:
    """What was logged before the end stands in the file, exceptions too, and the thread is gone."""
    with (tmp_path / "log").open("w") as file, writing(file.fileno(), 1000):
        for number in range(500):
            say(f"line {number}")
        try:
            raise ValueError("\udcff")  # noqa: TRY301 - it is what is logged
        except ValueError:
            logging.getLogger(LOGGER_NAME).exception("failed")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[:500] == [f"line {number}" for number in range(500)]
    assert lines[-1] == r"ValueError: \udcff"
    assert "modhub-log" not in {thread.name for thread in threading.enumerate()}


def test_what_comes_when_too_much_waits_is_counted() -> None:
    """While nobody reads, no caller waits; what was dropped is told when the reader has caught up, and all goes on."""
    with narrow_pipe() as (reader, writer), writing(writer, 10) as handler:
        say("x" * 10000)  # more than the pipe takes: the writer waits in the midst of it
        until(handler._waiting.empty, "it is being written")  # pyright: ignore[reportPrivateUsage]
        for number in range(50):
            say(f"line {number}")
        lines = read(reader, "hub.log_dropped")
        assert lines[1:-1] == [f"line {number}" for number in range(10)]
        say("and on")
        assert read(reader, "and on") == ["and on"]


def test_a_record_that_can_not_be_written_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect in one call to the log costs that line."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with (tmp_path / "log").open("w") as file, writing(file.fileno(), 10) as writer:
        writer.handle(logging.LogRecord(LOGGER_NAME, logging.WARNING, "", 0, "%d", ("no number",), None))
        say("another")
    assert (tmp_path / "log").read_text() == "another\n"


def test_a_hub_whose_log_nobody_reads_serves_on_and_ends(tmp_path: Path) -> None:
    """With a full pipe for its log it answers every request, and a signal ends it."""
    with narrow_pipe() as (reader, writer):
        process = subprocess.Popen(
            command(
                "serve", "--data-dir", f"{tmp_path}/data", "--backend", f"file://{tmp_path}/backend", "--port", "0"
            ),
            env=clean_environment(tmp_path, {}),
            stderr=writer,
        )
        try:
            first = json.loads(os.read(reader, 65536).split(b"\n")[0])
            until(lambda: asked(f"{first['url']}/health") == 200, "it serves")
            for number in range(100):
                assert asked(f"{first['url']}/hub/modules/m{number:03}/hibernate", "POST") == 404
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()


def asked(url: str, method: str = "GET") -> int:
    """The status of an answer; 0 = there is none yet."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError:
        return 0
