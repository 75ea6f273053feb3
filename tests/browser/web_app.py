"""A small web application for tests, as they are: page, script, a call that changes something, a WebSocket, a cookie.

Like many it refuses what does not come from its own pages, by comparing `Origin` with `Host`. It notes whatever it gets.
"""

import sys
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

PAGE = """<!doctype html><html lang="en"><title>app</title><link rel="icon" href="data:,">
<script type="module" src="/static/app.js"></script><h1>An application</h1><output id="told"></output>
<a id="second" href="/second">second page</a>
<form method="post" action="/form"><button>send</button></form></html>"""
SCRIPT = """
const told = [];
const count = await (await fetch("/count", {method: "POST"})).json();
told.push(`count ${count.count}`, `visible ${document.cookie}`);
const socket = new WebSocket(`ws://${location.host}/socket`);
socket.onmessage = ({data}) => {
  told.push(data);
  document.querySelector("#told").textContent = told.join("; ");
};
socket.onopen = () => socket.send("hello");
"""

counted = [0]
seen: list[str] = []


def is_own(connection: HTTPConnection) -> bool:
    return urlsplit(connection.headers.get("origin", "")).netloc == connection.headers["host"]


async def page(request: Request) -> Response:
    answer = HTMLResponse(PAGE)
    answer.set_cookie("visit", "1", path="/")
    answer.set_cookie("session", "s3cret", path="/", httponly=True)
    return answer


async def script(request: Request) -> Response:
    return Response(SCRIPT, media_type="text/javascript")


async def second(request: Request) -> Response:
    return HTMLResponse(f'<title>second</title><link rel="icon" href="data:,"><p>{request.cookies.get("session")}')


async def count(request: Request) -> Response:
    if not is_own(request):
        return JSONResponse({"error": "foreign"}, 403)
    counted[0] += 1
    return JSONResponse({"count": counted[0]})


async def form(request: Request) -> Response:
    if not is_own(request):
        return JSONResponse({"error": "foreign"}, 403)
    return Response(status_code=303, headers={"location": f"http://{request.headers['host']}/second"})


async def notes(request: Request) -> Response:
    return JSONResponse({"seen": seen, "cookie": request.headers.get("cookie", "")})


async def socket(websocket: WebSocket) -> None:
    if not is_own(websocket):
        await websocket.close()
        return
    await websocket.accept()
    said = await websocket.receive_text()
    await websocket.send_text(f"echo {said}; session {websocket.cookies.get('session')}")


class Noted:
    """Notes each request before anything looks at it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["path"] != "/notes":
            seen.append(f"{scope.get('method', 'WEBSOCKET')} {scope['path']}")
        await self.app(scope, receive, send)


app = Starlette(
    routes=[
        Route("/", page),
        Route("/static/app.js", script),
        Route("/second", second),
        Route("/count", count, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/notes", notes),
        WebSocketRoute("/socket", socket),
    ],
    middleware=[Middleware(Noted)],
)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", ws="websockets-sansio")
