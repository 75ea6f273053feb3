"""A server for tests: `PUT`, `GET` and `QUIT` on lines, each value a file in its data directory.

Flags make it misbehave: `--deaf` never listens, `--stubborn` ignores SIGTERM, `--die-after-ready` ends when asked once,
`--broken` ends at once, `--fork` leaves a grandchild behind, `--http` answers HTTP.
"""

import os
import signal
import socket
import sys
import time

port, directory, flags = int(sys.argv[1]), sys.argv[2], sys.argv[3:]


def end(number: int, frame: object) -> None:
    os._exit(0)


if "--broken" in flags:
    print("cannot go on: it is broken", flush=True)
    sys.exit(3)
if "--broken-once-used" in flags and os.path.exists(os.path.join(directory, "used")):
    print("cannot go on: the data is bad")
    sys.exit(4)
if "--stubborn" in flags:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, end)
if "--fork" in flags and os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)
if "--deaf" in flags:
    time.sleep(3600)

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(64)


def answer(words: list[str]) -> str:
    if words[:1] == ["PUT"]:
        path = os.path.join(directory, words[1])
        with open(path + ".new", "w") as file:
            file.write(words[2])
        os.rename(path + ".new", path)
        return "OK"
    if words[:1] == ["GET"]:
        try:
            with open(os.path.join(directory, words[1])) as file:
                return "=" + file.read()
        except FileNotFoundError:
            return "-"
    if words[:1] == ["ENV"]:
        return "=" + os.environ.get(words[1], "")
    if words[:1] == ["QUIT"]:
        os._exit(7)
    return "?"


while True:
    connection, _ = listener.accept()
    with connection:
        line = connection.makefile("r").readline().split()
        if line:
            if line[0] in ("GET", "POST") and line[-1].startswith("HTTP/"):
                body = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                connection.sendall(body.encode())
            else:
                connection.sendall((answer(line) + "\n").encode())
