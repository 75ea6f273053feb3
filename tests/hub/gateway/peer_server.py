"""A server whose connections do as their first line says; it serves as many as come. `--greet`: it speaks first."""

import os
import signal
import socket
import struct
import sys
import threading
from pathlib import Path

MIB = 1 << 20


def serve(connection: socket.socket) -> None:
    if "--greet" in sys.argv:
        connection.sendall(b"hello\n")
    stream = connection.makefile("rb")
    word, _, rest = stream.readline().decode().strip().partition(" ")
    if word == "echo":
        while data := stream.read1(MIB):
            connection.sendall(data)
    elif word == "count":
        count = 0
        while data := stream.read1(MIB):
            count += len(data)
        connection.sendall(b"%d\n" % count)
    elif word == "send":
        for _ in range(int(rest)):
            connection.sendall(bytes(range(256)) * (MIB // 256))
    elif word == "who":
        connection.sendall(b"%d\n" % os.getpid())
    elif word == "stall":
        connection.sendall(b"stalled\n")
        threading.Event().wait()
    elif word == "reset":
        connection.sendall(b"bye\n")
        connection.recv(1)  # the client has read that
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif word == "await-reset":
        with Path(sys.argv[2], "outcome").open("w") as file:
            try:
                file.write(f"read {connection.recv(1)!r}\n")
            except OSError as error:
                file.write(f"{type(error).__name__}\n")
    elif word == "exit":
        os._exit(3)
    stream.close()
    connection.close()


signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
