"""Parameters that several calls take."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BeforeValidator

_BOOLEANS = {"true": True, "false": False}


def _boolean(value: Any) -> Any:
    # Of the many spellings that pydantic takes, those that OpenAPI's boolean has.
    return _BOOLEANS.get(value, value) if isinstance(value, str) and value in _BOOLEANS else _refuse(value)


def _refuse(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    raise ValueError("give true or false")


Boolean = Annotated[bool, BeforeValidator(_boolean)]

ID_PATTERN = "^[A-Za-z0-9][A-Za-z0-9-]{0,62}$"
# Described and not checked here: the hub does, and its error says more.
ModuleIdPath = Annotated[
    str,
    Path(description="The module.", examples=["tenant-42"], json_schema_extra={"pattern": ID_PATTERN}),
]
ModuleIdQuery = Annotated[
    str | None, Query(description="Only what is about this module.", examples=["tenant-42"], pattern=ID_PATTERN)
]
OpIdPath = Annotated[str, Path(description="The operation's id.", examples=["4f0c2a9be1d37785"], max_length=100)]
Wait = Annotated[
    Boolean, Query(description="`false`: answer 202 when the operation is accepted; ask for it by its id.")
]
Timeout = Annotated[
    float | None,
    Query(
        description="Seconds. Past them an operation that has not started never will; a running one goes on.",
        ge=0.001,
        le=86400,
        allow_inf_nan=False,
        examples=[30.0],
    ),
]
Count = Annotated[int, Query(description="At the most so many.", ge=1, le=1000)]
After = Annotated[
    int | None, Query(description="Only events with a greater number; without it, the last ones.", ge=0, le=2**53)
]
