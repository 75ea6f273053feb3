"""The server of `gateway_bench`: `u` and it counts what comes, `d` and a number and it sends so many MiB."""

import socket
import sys
import threading

MIB = 1 << 20


def serve(connection: socket.socket) -> None:
    buffer = bytearray(MIB)
    with connection:
        line = b""
        while not line.endswith(b"\n"):
            byte = connection.recv(1)
            if not byte:
                return
            line += byte
        if line[:1] == b"d":
            for _ in range(int(line[1:])):
                connection.sendall(buffer)
            return
        count = 0
        while got := connection.recv_into(buffer):
            count += got
        connection.sendall(b"%d" % count)


with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
