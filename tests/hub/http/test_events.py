"""The stream of events: complete, resumable, bounded, and ended in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from backends.file import FileStore
from hub import Hub
from hub.errors import HubClosed
from hub.http import Role, drain
from hub.http.feed import Feed, Listener
from hub.http.sse import parse_event_id
from hub.info import EventPage
from hub.messages import ReadEvents
from tests.hub.conftest import MakeHub
from tests.hub.http.conftest import Serve
from tests.hub.http.serving import Frame, bearer, tokens, wait_until
from tests.hub.observer import Observer


def ends_in(rest: int, frame: Frame) -> bool:
    return frame.number % 5 == rest


@contextlib.contextmanager
def busy(hub: Hub) -> Generator[None]:
    """Let events happen in a steady stream, as fast as a module's life makes them."""
    over = threading.Event()

    def live() -> None:
        while not over.is_set():
            hub.provision("busy")
            hub.hibernate("busy")

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_what_happens_is_told_as_it_happens(make_hub: MakeHub, serve: Serve) -> None:
    """A new stream says hello, then tells every event with its number, name and data; nobody need ask again."""
    hub = make_hub()
    served = serve(hub)
    with served.events() as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        (hello,) = stream.take(lambda frame: True)
        assert hello.event == "hello"
        assert hello.id == f"{hello.data['run_id']}-{hello.data['last']}"
        hub.provision("tenant")
        frames = stream.take(lambda frame: frame.data.get("fields", {}).get("to_state") == "provisioned")
    assert [frame.number for frame in frames] == list(range(hello.number + 1, hello.number + 1 + len(frames)))
    assert frames[-1].event == frames[-1].data["name"] == "module.transition"
    assert frames[-1].data["module_id"] == "tenant"
    assert abs(frames[-1].data["at"] - time.time()) < 30


def test_of_one_module_alone(make_hub: MakeHub, serve: Serve) -> None:
    """With `module_id` only what is about it is told, from before and from now on."""
    hub = make_hub()
    served = serve(hub)
    page = served.get("/hub/events?follow=false").json()
    hub.provision("one")
    hub.provision("two")
    with served.events(f"?module_id=two&last_event_id={page['run_id']}-{page['last']}") as stream:
        stream.take(lambda frame: frame.data["fields"].get("to_state") == "provisioned")
        hub.hibernate("one")
        hub.hibernate("two")
        frames = stream.take(lambda frame: frame.data["fields"].get("to_state") == "hibernated")
    assert {frame.data["module_id"] for frame in frames} == {"two"}


def test_a_stream_that_breaks_is_taken_up_without_loss_or_repetition(make_hub: MakeHub, serve: Serve) -> None:
    """While events go on, a client breaks off and comes back with the last id again and again; it gets each once."""
    hub = make_hub()
    served = serve(hub)
    numbers: list[int] = []
    with busy(hub):
        last_id = ""
        for round_number in range(25):
            headers = {"Last_Event_ID": last_id} if last_id else {}
            with served.events(**headers) as stream:
                frames = stream.take(partial(ends_in, round_number % 5))
            assert round_number == 0 or frames[0].event not in {"hello", "reset"}
            numbers += [frame.number for frame in frames]
            last_id = frames[-1].id or ""
    assert len(numbers) > 25
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


@pytest.mark.parametrize(
    "last_event_id", ["another-7", "nonsense", "-", "RUN-999999999", "RUN-99999999999999999999999"]
)
def test_what_can_not_be_resumed_begins_anew(make_hub: MakeHub, serve: Serve, last_event_id: str) -> None:
    """Of another run of the hub, or of no event at all: the client is told to read everything anew, and goes on."""
    hub = make_hub()
    served = serve(hub)
    run_id = served.get("/hub/events?follow=false").json()["run_id"]
    with served.events(f"?last_event_id={last_event_id.replace('RUN', run_id)}") as stream:
        (reset,) = stream.take(lambda frame: True)
        assert (reset.event, reset.data["run_id"]) == ("reset", run_id)
        hub.provision("tenant")
        frames = stream.take(lambda frame: frame.data["fields"].get("to_state") == "provisioned")
    assert frames[0].number == reset.data["last"] + 1


def test_ids_of_events() -> None:
    """An id is the run's, a dash and a number; anything else is none."""
    assert parse_event_id("abc-12") == ("abc", 12)
    assert parse_event_id("a-b-12") == ("a-b", 12)
    for bad in ("", "-", "abc", "abc-", "-12", "abc-x", "abc--1x", "abc-²", "abc-" + "9" * 40):
        assert parse_event_id(bad) is None


def test_a_slow_reader_holds_nothing(make_hub: MakeHub, serve: Serve) -> None:
    """Who does not read gets no more than its share of memory and is ended; the others hear everything meanwhile."""
    hub = make_hub()
    served = serve(hub, send_timeout=0.5)
    feed = served.app.state.service.feed
    with served.connect() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        slow.sendall(b"GET /hub/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: feed.listening == 1)
        (listener,) = feed._listeners
        with served.events() as stream:
            (hello,) = stream.take(lambda got: True)

            def flood() -> None:
                for _ in range(900):
                    listener.put(0, b"data: " + b"x" * 20_000 + b"\n\n")

            served.call(flood)
            hub.provision("tenant")
            frames = stream.take(lambda got: got.data["fields"].get("to_state") == "provisioned")
            assert frames[0].number == hello.number + 1
            wait_until(lambda: listener not in feed._listeners)


def test_a_listener_that_does_not_keep_up_is_ended() -> None:
    """Its queue is bounded: one event too many ends it, after what it holds; progress too much is left out."""

    async def main() -> None:
        listener = Listener(None)
        for number in range(1, 1001):
            listener.put(number, b"event")
        listener.put(0, b"progress")
        ended = [listener.ended]
        listener.put(1001, b"event")
        assert [*ended, listener.ended] == [False, True]
        taken = await listener.take(10)
        assert [number for number, _ in taken] == list(range(1, 1001))
        assert await listener.take(10) == []

    asyncio.run(main())


def test_silence_is_broken_now_and_then() -> None:
    """When nothing happens, taking ends after the time between heartbeats."""

    async def main() -> None:
        started = time.monotonic()
        assert await Listener(None).take(0.05) == []
        assert time.monotonic() - started >= 0.05

    asyncio.run(main())


def test_streams_are_bounded(serve: Serve) -> None:
    """One stream too many is refused with when to come back; ordinary requests are not counted with them."""
    served = serve(max_streams=1, max_requests=1)
    with served.events() as stream:
        stream.take(lambda frame: True)
        refused = served.get("/hub/events")
        assert (refused.status, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert served.get("/hub/whoami").status == 200
    wait_until(lambda: served.app.state.service.feed.listening == 0)
    with served.events() as stream:
        assert stream.status == 200


def test_streams_are_bounded_when_all_come_at_once(serve: Serve) -> None:
    """Those that still begin are counted: no more get in while the first one waits for the hub."""
    served = serve(max_streams=2)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(20)]
        for connection in connections:
            connection.sendall(b"GET /hub/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        statuses = [connection.recv(12)[9:] for connection in connections]
    assert sorted(statuses) == [b"200"] * 2 + [b"503"] * 18


@pytest.mark.parametrize("head", ["Content-Length: 5", "Content-Length: 5\r\nExpect: 100-continue"])
def test_a_body_that_never_comes_ends_the_stream_and_is_no_defect(serve: Serve, events: Observer, head: str) -> None:
    """A listener that announces a body and sends none loses its stream in good order; the log has no traceback."""
    served = serve(body_timeout=0.2)
    with served.connect() as connection:
        connection.sendall(
            f"GET /hub/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n\r\n".encode()
        )
        text = b""
        while part := connection.recv(65536):
            text += part
    assert text.endswith(b"\r\n0\r\n\r\n")
    assert not events.all("http.failed")


def test_a_client_that_leaves_is_forgotten(serve: Serve) -> None:
    """When a client closes its connection its listener goes at once; the polling for progress ends after the last one."""
    served = serve()
    feed = served.app.state.service.feed
    with served.events() as stream:
        stream.take(lambda frame: True)
        poller = feed._poller
        assert not poller.done()
    wait_until(lambda: feed.listening == 0)
    wait_until(poller.done)


def test_streams_end_when_the_application_drains(serve: Serve) -> None:
    """Draining ends the streams in good order, and refuses new ones."""
    served = serve()
    with served.events() as stream:
        stream.take(lambda frame: True)
        served.call(drain, served.app)
        assert list(stream.frames()) == []
    assert served.get("/hub/events").json()["code"] == "not-ready"


def test_streams_end_with_the_hub(make_hub: MakeHub, serve: Serve) -> None:
    """When the hub closes, a stream tells that last and ends."""
    hub = make_hub()
    served = serve(hub)
    with served.events() as stream:
        stream.take(lambda frame: True)
        hub.close()
        frames = list(stream.frames())
    assert frames[-1].event == "hub.stopping"


def test_progress_of_transfers(make_hub: MakeHub, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """While data travels, its operation's progress is told, at the end of it too; without an id, since it is no event."""
    hub = make_hub()
    served = serve(hub)
    put = FileStore.put

    def slow_put(self: FileStore, *args: Any, **options: Any) -> Any:
        time.sleep(0.1)
        return put(self, *args, **options)

    info = hub.provision("tenant")
    assert info.data_dir is not None
    for number in range(8):
        (info.data_dir / f"large-{number}").write_bytes(os.urandom(2_000_000))
    monkeypatch.setattr(FileStore, "put", slow_put)
    with served.events("?module_id=tenant") as stream:
        stream.take(lambda frame: True)
        served.post("/hub/modules/tenant/deprovision?wait=false")
        frames = stream.take(lambda frame: frame.event == "operation.progress" and frame.data["status"] == "done")
    progress = [frame for frame in frames if frame.event == "operation.progress"]
    assert len(progress) > 1
    assert {frame.id for frame in progress} == {None}
    assert {frame.data["status"] for frame in progress[:-1]} == {"running"}
    assert progress[-1].data["operation"] == "deprovision"
    assert max(frame.data["bytes_total"] for frame in progress) >= 16_000_000
    # How far it was is told as often as somebody looked: not necessarily at the moment before its end.
    assert max(frame.data["bytes_done"] for frame in progress) > 0


def test_a_stream_needs_a_token(serve: Serve) -> None:
    """A stream is a reading call like the others."""
    served = serve(tokens=tokens())
    assert served.get("/hub/events").status == 401
    with served.events(Authorization=bearer(Role.READ)["Authorization"]) as stream:
        assert stream.take(lambda frame: True)[0].event == "hello"


def test_a_feed_that_can_not_start_says_so() -> None:
    """Whatever fails when the first stream begins, it is told and not left waiting; the next one tries anew."""
    failures: list[Exception] = [RuntimeError("a defect"), HubClosed("not yet")]

    async def ask(message: Any) -> Any:
        if failures:
            raise failures[0]
        return EventPage("run", (), 0, missed=False) if isinstance(message, ReadEvents) else None

    async def main() -> None:
        feed = Feed(ask)
        async with asyncio.timeout(10):
            for kind in (RuntimeError, HubClosed):
                with pytest.raises(kind):
                    await feed.open(None)
                failures.pop(0)
            feed.leave(await feed.open(None))
            await feed.close()

    asyncio.run(main())
