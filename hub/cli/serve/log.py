"""The log of `modhub serve`, on stderr. An embedded hub configures none: there it is the host's."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from hub.cli.serve.log_writer import LogWriter
from hub.cli.terminal import Terminal, printable
from hub.events import LOGGER_NAME

FORMATS = ("console", "json")


@contextmanager
def logging_to(stream: TextIO, style: str) -> Generator[None]:
    """Write records within, one a line.

    Args:
        stream: where to.
        style: of `FORMATS`.
    """
    before: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _when_logged,
        structlog.stdlib.ExtraAdder(),  # an event's attributes
    ]
    after: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _without_own_name]
    if style == "json":
        after += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    else:
        after += [
            _spelt_out,
            structlog.dev.ConsoleRenderer(
                colors=Terminal.of(stream).colour, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    handler = LogWriter(stream.fileno())
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=after, foreign_pre_chain=before))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(LOGGER_NAME).setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    logging.raiseExceptions = False  # a record that can't be formatted is no reason to write about it
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


# Told as errors, though they are what a client sees where a WebSocket is refused with an answer of its own, or where an
# instance's answer broke off and so has to break off here.
_NO_NEWS = ("ASGI callable returned without completing ",)


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_NO_NEWS)


def _when_logged(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Tell when it was logged, and not when it is written."""
    at = datetime.fromtimestamp(event["_record"].created, UTC)
    event["timestamp"] = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return event


def _spelt_out(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Keep what others chose, such as a request's path, from steering the terminal or forging a line."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}


def _without_own_name(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Name the logger of others' records only."""
    if event.get("logger") == LOGGER_NAME:
        del event["logger"]
    return event
