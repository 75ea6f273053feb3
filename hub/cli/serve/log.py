"""The log of `modhub serve`, on stderr. An embedded hub configures none: there it is the host's."""

from __future__ import annotations

import logging
from typing import Any, TextIO

import structlog

from hub.cli.terminal import Terminal, printable
from hub.events import LOGGER_NAME

FORMATS = ("console", "json")


def configure_log(style: str, stream: TextIO) -> None:
    """Write records from now on, one a line.

    Args:
        style: of `FORMATS`.
        stream: where to.
    """
    before: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
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
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=after, foreign_pre_chain=before))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(LOGGER_NAME).setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    logging.raiseExceptions = False  # a log that nobody reads any more is no reason to end


# Told as errors, though they are what a client sees where a WebSocket is refused with an answer of its own, or where an
# instance's answer broke off and so has to break off here.
_NO_NEWS = ("ASGI callable returned without completing ",)


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_NO_NEWS)


def _spelt_out(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Keep what others chose, such as a request's path, from steering the terminal or forging a line."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}


def _without_own_name(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Name the logger of others' records only."""
    if event.get("logger") == LOGGER_NAME:
        del event["logger"]
    return event
