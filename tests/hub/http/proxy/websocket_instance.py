"""An instance that speaks WebSocket as its client tells it to by the path."""

from __future__ import annotations

import asyncio
import http
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

ends: dict[str, str] = {}
flooded = 0


async def handle(socket: ServerConnection) -> None:
    global flooded
    assert socket.request is not None
    path, _, query = socket.request.path.partition("?")
    try:
        match path:
            case "/describe":
                fields = (f"{name.lower()}: {value}" for name, value in socket.request.headers.raw_items())
                await socket.send("\n".join([socket.request.path, *fields]))
                await socket.wait_closed()
            case "/close":
                await socket.close(int(query), "as told")
            case "/vanish":
                socket.transport.abort()
            case "/large":
                await socket.send(b"x" * (17 << 20))
                await socket.wait_closed()
            case "/flood":
                while True:
                    await socket.send(b"z" * 65536)
                    flooded += 65536
            case "/watch":
                async for name in socket:
                    await socket.send(str(flooded) if name == "flooded?" else ends.get(str(name), "open"))
            case _:
                async for message in socket:
                    await socket.send(message)
    except ConnectionClosed:
        pass
    finally:
        await socket.wait_closed()
        ends[query] = f"{socket.close_code} {socket.close_reason}"


def answer(socket: ServerConnection, request: Request) -> Response | None:
    match request.path:
        case "/refuse":
            return Response(418, "I'm a Teapot", Headers({"Content-Length": "2", "Connection": "close"}), b"no")
        case "/redirect":
            fields = {"Location": "/echo", "Content-Length": "2", "Connection": "close"}
            return Response(302, http.HTTPStatus(302).phrase, Headers(fields), b"no")
        case "/garbage":
            socket.transport.write(b"220 mail.test ESMTP\r\n")
            socket.transport.close()
            return None
        case _:
            return None


def adorn(socket: ServerConnection, request: Request, response: Response) -> None:
    response.headers["Set-Cookie"] = "a=b; Path=/; Domain=x"


def choose(socket: ServerConnection, offered: object) -> Subprotocol | None:
    return Subprotocol("two") if isinstance(offered, list) and "two" in offered else None


async def main() -> None:
    async with serve(
        handle,
        "127.0.0.1",
        int(sys.argv[1]),
        process_request=answer,
        process_response=adorn,
        select_subprotocol=choose,
        max_size=None,
    ) as server:
        await server.serve_forever()


asyncio.run(main())
