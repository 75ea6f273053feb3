"""What a call that fails is answered with: one table from the kind of error to its status, and its text (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from hub import errors
from hub.errors import ModhubError
from hub.http.encoding import encode
from hub.http.proxy.errors import PROXY_ERRORS

URN = "urn:modhub:problem:"
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem.

    Attributes:
        status: the answer's status.
        title: what it is, in a few words that never change.
    """

    status: int
    title: str


# By the error's class; a subclass that is not listed is answered as its nearest base.
ERRORS: Mapping[type[ModhubError], Kind] = {
    errors.InvalidModuleId: Kind(400, "Not a module id"),
    errors.InvalidMessage: Kind(400, "Not a request that the hub takes"),
    errors.InvalidConfig: Kind(500, "The configuration can't be used"),
    errors.UnknownKind: Kind(400, "No such kind"),
    errors.ModuleNotFound: Kind(404, "No such module"),
    errors.OperationNotFound: Kind(404, "No such operation"),
    errors.InvalidState: Kind(409, "Refused in this state"),
    errors.KindMismatch: Kind(409, "The data is of another kind"),
    errors.DataConflict: Kind(409, "Local data and the backend's grew apart"),
    errors.LeaseHeld: Kind(409, "Another hub holds the module"),
    errors.OperationCancelled: Kind(409, "The operation was cancelled"),
    errors.ModuleBusy: Kind(429, "Too many operations wait for the module"),
    errors.ModuleFault: Kind(500, "A defect interrupted the operation"),
    errors.JournalError: Kind(500, "The journal can't be used"),
    errors.DataDirInUse: Kind(500, "Another hub runs on the data directory"),
    errors.UnsupportedPlatform: Kind(500, "The platform lacks what is needed"),
    errors.StartFailed: Kind(502, "The process did not become ready"),
    errors.ProvisionFailed: Kind(502, "The process did not become ready"),
    errors.WakeFailed: Kind(502, "The process did not wake"),
    errors.RecoverFailed: Kind(502, "The process did not recover"),
    errors.StopFailed: Kind(502, "The process can't be ended"),
    errors.HibernateFailed: Kind(502, "The process did not stop cleanly"),
    errors.CheckpointFailed: Kind(502, "No copy of the data was made"),
    errors.BackendError: Kind(502, "The backend can't be used"),
    errors.BudgetExceeded: Kind(503, "A budget is exhausted"),
    errors.PortsExhausted: Kind(503, "No port is free"),
    errors.HubClosed: Kind(503, "The hub is closing"),
    errors.OperationTimeout: Kind(504, "Not done in time"),
    errors.LocalDataError: Kind(507, "The local disk can't be used"),
    **{error: Kind(error.status, error.title) for error in PROXY_ERRORS},
    ModhubError: Kind(500, "The hub failed"),
}

# What the HTTP side itself refuses.
REFUSALS: Mapping[str, Kind] = {
    "invalid-request": Kind(400, "The body or a parameter can't be used"),
    "unauthenticated": Kind(401, "A valid token is needed"),
    "forbidden": Kind(403, "Not allowed"),
    "not-found": Kind(404, "No such resource"),
    "method-not-allowed": Kind(405, "Not with this method"),
    "request-timeout": Kind(408, "The request's body did not come"),
    "body-too-large": Kind(413, "The request's body is too large"),
    "unsupported-media-type": Kind(415, "The body has to be JSON"),
    "internal-error": Kind(500, "A defect of the HTTP side"),
    "not-ready": Kind(503, "Not ready"),
    "overloaded": Kind(503, "Too many requests at one time"),
}

_EXTRAS = ("retry_after_s", "op_id", "started", "output", "budget")
_TRY_LATER = frozenset({429, 503})
_RETRY_AFTER_S = 1.0  # where an error that passes by itself does not know better


class Refused(HTTPException):
    """A request that the HTTP side refuses.

    It is an HTTPException since FastAPI lets no other pass where it reads a body.

    Args:
        code: a key of `REFUSALS`.
        detail: what is wrong with this request.
        hint: what its sender can do next.
        headers: header fields of the answer.
        **extras: further members of the problem; `None` = none.
    """

    def __init__(
        self, code: str, detail: str, *, hint: str = "", headers: Mapping[str, str] | None = None, **extras: Any
    ) -> None:
        super().__init__(REFUSALS[code].status, detail, headers)
        self.code = code
        self.hint = hint
        self.extras = {name: value for name, value in extras.items() if value is not None}


def kind_of(error: ModhubError) -> Kind:
    """Return what kind of problem an error is."""
    found = next(ERRORS[cls] for cls in type(error).__mro__ if cls in ERRORS)
    if isinstance(error, errors.BackendError) and error.retry_after_s is not None:
        return Kind(503, found.title)  # not asked at all: the hub knows when it is worth it
    return found


def _body(code: str, kind: Kind, detail: str, hint: str, extras: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": URN + code,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "hint": hint,
        "code": code,
        **extras,
    }


def problem_of(error: ModhubError) -> dict[str, Any]:
    """Return an error as a problem: also what it carries beyond its message."""
    extras = {name: value for name in _EXTRAS if (value := getattr(error, name, None)) is not None and value != ""}
    kind = kind_of(error)
    if kind.status in _TRY_LATER:
        extras.setdefault("retry_after_s", _RETRY_AFTER_S)
    return _body(error.code, kind, error.message, error.hint, extras)


def refusal_of(refused: Refused) -> dict[str, Any]:
    """Return a refusal as a problem."""
    return _body(refused.code, REFUSALS[refused.code], refused.detail, refused.hint, refused.extras)


def response_of(error: ModhubError | Refused) -> Response:
    """Return the answer to a request that failed or was refused."""
    headers: dict[str, str] = {}
    if isinstance(error, Refused):
        body = refusal_of(error)
        headers.update(error.headers or {})
    else:
        body = problem_of(error)
    retry_after_s = body.get("retry_after_s")
    if retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(retry_after_s)))
    return Response(encode(body), body["status"], headers, MEDIA_TYPE)
