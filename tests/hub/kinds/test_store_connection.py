from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.kinds.objectstore.blobs import BlobStore
from hub.kinds.objectstore.connection import Connection
from hub.kinds.objectstore.transfer import Upload
from tests.hub.kinds.store_process import statuses

BIG = bytes(range(256)) * 2500


class ScriptedSocket:
    """Takes what the script says with each send: so many bytes, or none at all for now."""

    def __init__(self, incoming: bytes, script: list[int]) -> None:
        self.incoming = incoming
        self.script = script
        self.sent = bytearray()

    def fileno(self) -> int:
        return 99

    def recv(self, size: int) -> bytes:
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        return data

    def send(self, data: bytearray) -> int:
        room = self.script.pop(0) if self.script else len(data)
        if not room:
            raise BlockingIOError
        self.sent += data[:room]
        return min(room, len(data))

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blobs")


# The folder is only read once it has been filled; each example opens it anew.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(
        st.sampled_from([b"GET /blobs/big", b"GET /health", b"GET /blobs?limit=1", b"HEAD /blobs/big"]),
        min_size=1,
        max_size=12,
    ),
    script=st.lists(st.sampled_from([0, 0, 1, 1000, 70_000, 300_000]), max_size=40),
    broken=st.booleans(),
)
def test_every_answer_comes_out_however_the_socket_takes_it(
    folder: Path, requests: list[bytes], script: list[int], broken: bool
) -> None:
    """With a socket that blocks and takes bytes as it likes, a connection never waits for what will not come."""
    blobs = BlobStore(str(folder))
    try:
        upload = Upload(blobs)
        upload.write(BIG)
        blobs.store(upload, b"big")
        incoming = b"".join(request + b" HTTP/1.1\r\nHost: x\r\n\r\n" for request in requests)
        fake = ScriptedSocket(incoming + b"BROKEN\r\n\r\n" * broken, script)
        connection = Connection(cast("Any", fake), blobs, max_body=1, patience_s=60)
        for _ in range(1000):
            if connection.closed:
                break
            wanted = connection.interest()
            # Just as the server would: it calls for what was asked for, and for nothing else.
            assert wanted or connection.hungry, "waits for nothing, for ever"
            if wanted:
                connection.handle(wanted)
            if connection.hungry:
                connection.advance()
        assert connection.closed
        assert statuses(bytes(fake.sent)) == [200] * len(requests) + [400] * broken
        assert fake.sent.count(BIG) == requests.count(b"GET /blobs/big")
        assert not blobs._readers  # pyright: ignore[reportPrivateUsage]
    finally:
        blobs.close()
