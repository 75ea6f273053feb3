"""Copies a Redis that runs: has it save a snapshot, and puts that where a Redis starts from it.

Run by path, and imports nothing from the rest of the project. Not redis-cli and a shell script: whether a save is the one
that was asked for can only be told from the answers together with what came before.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_FIRST_POLL_S = 0.005
_LAST_POLL_S = 0.25
_TEMPORARY = re.compile(r"temp-(\d+)\.rdb")


class Refused(Exception):
    """Redis answered with an error."""


class Client:
    """One connection, one command at a time. It waits for as long as it takes: the hub ends what takes too long."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._answers = self._socket.makefile("rb")

    def ask(self, *words: str) -> str:
        """Send a command; returns its answer, of a list the last element, empty where there is none."""
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self._socket.sendall(b"".join(parts))
        return self._read()

    def _read(self) -> str:
        line = self._answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("Redis closed the connection")
        sign, rest = line[:1], line[1:-2].decode(errors="replace")
        if sign == b"-":
            raise Refused(rest)
        if sign == b"$":
            return self._answers.read(int(rest) + 2)[:-2].decode(errors="replace") if int(rest) >= 0 else ""
        if sign == b"*":
            return ([""] + [self._read() for _ in range(int(rest))])[-1]
        return rest

    def setting(self, name: str) -> str:
        """A setting of the server; empty where this version has none of the name."""
        return self.ask("CONFIG", "GET", name)

    def persistence(self) -> dict[str, str]:
        """What the server tells of its saves."""
        lines = self.ask("INFO", "persistence").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def save(redis: Client) -> None:
    """Have a snapshot saved that began after this was called, and wait until it is on disk.

    Raises:
        Refused: it was not saved.
    """
    delays = _delays()
    scheduled = False
    while True:
        try:
            answer = redis.ask("BGSAVE", "SCHEDULE")
        except Refused as refused:
            if "already in progress" not in str(refused):
                raise
            if scheduled:
                break  # it was not running when ours was put off, so it began after that
            # One that began before this was called lacks what was written since: ours comes after it.
        else:
            if "started" in answer:
                break
            scheduled = True  # the append-only file is being rewritten; then Redis begins by itself
        time.sleep(next(delays))
    delays = _delays()
    while (state := redis.persistence()).get("rdb_bgsave_in_progress") != "0":
        time.sleep(next(delays))
    if state.get("rdb_last_bgsave_status") != "ok":
        raise Refused("BGSAVE failed; Redis' own lines above say why")


def place(redis: Client, data: Path, target: Path) -> None:
    """Move the snapshot to where a Redis of these settings looks for its data.

    A Redis with an append-only file does not look at a snapshot beside it: there the snapshot becomes the file's base,
    which has had this very format since Redis 5.
    """
    snapshot = data / (redis.setting("dbfilename") or "dump.rdb")
    name, folder = redis.setting("appendfilename"), redis.setting("appenddirname")
    if redis.setting("appendonly") != "yes":
        snapshot.rename(target / snapshot.name)
    elif not folder:  # before Redis 7: one file
        snapshot.rename(target / name)
    else:
        base = f"{name}.1.base.rdb"
        (target / folder).mkdir(mode=0o700)
        snapshot.rename(target / folder / base)
        (target / folder / f"{name}.manifest").write_text(f"file {base} seq 1 type b\n")


def remove_leftovers(data: Path) -> None:
    """Delete snapshots that a Redis which was killed had begun: it does not, and they would all go home."""
    for path in data.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        if match and not Path("/proc", match[1]).exists():
            path.unlink()


def _delays() -> Iterator[float]:
    """Seconds between two looks, longer and longer."""
    delay_s = _FIRST_POLL_S
    while True:
        yield delay_s
        delay_s = min(2 * delay_s, _LAST_POLL_S)


def main(port: str, data: str, target: str) -> int:
    """Make the copy; returns the exit code."""
    # Readable for whom it is made alone, whatever the umask of the hub.
    os.umask(0o077)
    try:
        redis = Client(int(port))
        save(redis)
        place(redis, Path(data), Path(target))
        remove_leftovers(Path(data))
    except (Refused, OSError) as error:
        sys.stderr.write(f"checkpoint: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
