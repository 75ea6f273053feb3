"""How a hub that is asked over HTTP fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.errors import ModhubError


class HubUnreachable(ModhubError):
    """No hub answers."""

    code = "hub-unreachable"


class HubRefused(ModhubError):
    """The hub answers with a problem.

    Attributes:
        problem: the problem, as it came.
        status: the status of HTTP.
        problem_code: the stable name of the kind of problem.
        output: the last lines of a server that did not start.
    """

    code = "refused"

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(
            str(problem.get("detail") or problem.get("title") or "the hub refuses"), hint=str(problem.get("hint") or "")
        )
        self.problem = problem
        self.status = int(problem.get("status", 500))
        self.problem_code = str(problem.get("code", ""))
        self.output = str(problem.get("output") or "")
