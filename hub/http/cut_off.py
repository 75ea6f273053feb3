"""What becomes of requests that still run when the server ends."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.http.problem import Refused
from hub.http.refusing import refuse


class CutOff:
    """Answers requests that the server cancels at its end, as far as nothing of them was answered yet.

    The cancellation ends here, with the request's task: uvicorn would log it as a defect with its traceback, and answer
    500. Nobody but the server cancels these tasks.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if not begun:
                closing = Refused(
                    "not-ready", "the hub is closing", hint="try again when it is back", retry_after_s=1.0
                )
                await refuse(closing, scope, receive, send)
