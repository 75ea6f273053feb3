"""An instance that answers what its client tells it to, valid or not, and notes every request it sees.

    /say/BASE64      the bytes, as they are; then it waits for the next request
    /say-close/...   the same, and the connection ends
    /say-long/...?.. the bytes, then 70,000 times `b`, then those of the query; and the connection ends
    /early/...       the same, before the request's body is read; then it ends the connection with the body unread
    /duplex/...      the same, before the request's body is read; each part of the body is then sent back as it comes
    /late/...        the bytes, after 0.3 s
    /parts/...?...   the bytes, and those of the query 0.05 s later
    /flood/...?SIZE  the bytes, then SIZE bytes as fast as they are taken, of which it notes how far it came
    /crash           ends the process
    /silent          never answers, and notes when the connection ends
    anything else    200, with the request as it was seen, as JSON

Requests are parsed by h11, strictly, and written to `seen.jsonl` in its data directory; what h11 refuses too.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import h11

port, directory = int(sys.argv[1]), Path(sys.argv[2])
lock = threading.Lock()


def note(**entry: Any) -> None:
    with lock, (directory / "seen.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def decoded(path: str) -> bytes:
    return base64.urlsafe_b64decode(path.partition("?")[0].rpartition("/")[2])


class Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)

    def event(self) -> Any:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            if self.http.they_are_waiting_for_100_continue:
                self.sock.sendall(self.http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            self.http.receive_data(self.sock.recv(1 << 18))
        return event

    def serve(self) -> bool:
        """One request; tells whether another one may follow."""
        request = self.event()
        if not isinstance(request, h11.Request):
            return False
        path = request.target.decode("latin-1")
        entry: dict[str, Any] = {
            "method": request.method.decode(),
            "target": path,
            "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in request.headers],
        }
        if path.startswith("/crash"):
            note(**entry)
            os._exit(9)
        if path.startswith("/silent"):
            note(**entry)
            self.sock.recv(1)
            note(ended=path)
            return False
        if path.startswith("/early/"):
            note(**entry)
            self.sock.sendall(decoded(path))
            return False
        duplex = path.startswith("/duplex/")
        if duplex:
            self.sock.sendall(decoded(path))
        body = b""
        size = 0
        while not isinstance(event := self.event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                note(**entry, broken=repr(event))
                return False
            size += len(event.data)
            if duplex:
                self.sock.sendall(b"%x\r\n%b\r\n" % (len(event.data), bytes(event.data)))
            elif len(body) < 1 << 16:
                body += event.data
        entry |= {"body": body.decode("latin-1"), "size": size, "trailers": len(event.headers)}
        note(**entry)
        if duplex:
            self.sock.sendall(b"0\r\n\r\n")
        elif path.startswith("/say-long/"):
            tail = base64.urlsafe_b64decode(path.partition("?")[2])
            self.sock.sendall(decoded(path) + b"b" * 70000 + tail)
            return False
        elif path.startswith("/flood/"):
            self.sock.sendall(decoded(path))
            self.flood(int(path.partition("?")[2]))
            return False
        elif path.startswith(("/say", "/late/", "/parts/")):
            if path.startswith("/late/"):
                time.sleep(0.3)
            self.sock.sendall(decoded(path))
            if path.startswith("/parts/"):
                time.sleep(0.05)
                self.sock.sendall(base64.urlsafe_b64decode(path.partition("?")[2]))
            if path.startswith("/say-close/"):
                return False
        else:
            text = json.dumps(entry).encode()
            self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text))
            if request.method != b"HEAD":
                self.sock.sendall(text)
        # What was sent did not go through h11, which is told so: it takes the next request.
        self.http.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        self.http.send(h11.EndOfMessage())
        if self.http.our_state is not h11.DONE:
            return False
        self.http.start_next_cycle()
        return True

    def flood(self, size: int) -> None:
        piece = b"f" * (1 << 20)
        for sent in range(0, size, len(piece)):
            try:
                self.sock.sendall(piece)
            except OSError:
                note(broke=sent)
                return
            note(flooded=sent + len(piece))

    def run(self) -> None:
        try:
            while self.serve():
                pass
        except h11.RemoteProtocolError as error:
            if not str(error).startswith("peer"):  # which merely broke off
                note(refused=str(error))
        except OSError:
            pass
        finally:
            self.sock.close()


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(256)
while True:
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=Client(sock).run, daemon=True).start()
