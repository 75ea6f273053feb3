"""One answer of an instance as it comes in: parsed strictly, its framing beyond doubt, or refused."""

from __future__ import annotations

import enum
from functools import lru_cache

import httptools

from hub.http.proxy.errors import BadInstanceAnswer
from hub.http.proxy.request_head import NAME, TOKEN, VALUE

_MAX_HEAD = 65536
_MAX_FIELDS = 256
_MAX_INTERIM = 32
_MAX_NAME = 256


class Stage(enum.IntEnum):
    """How far an answer has come."""

    HEAD = 0
    BODY = 1
    DONE = 2


# Bound here, since a look into an enumeration costs as much as the rest of most lines here.
_HEAD, _BODY, _DONE = Stage

# What a field's name makes of it.
_PLAIN, _CODING, _LENGTH, _CONNECTION, _DROPPED = range(5)
_KINDS = {b"transfer-encoding": _CODING, b"content-length": _LENGTH, b"connection": _CONNECTION}


@lru_cache(maxsize=1024)  # instances use the same few names
def _named(name: bytes) -> tuple[bytes, int]:
    name = name.lower()
    return name, _KINDS.get(name, _PLAIN) if NAME.fullmatch(name) else _DROPPED


class AnswerReader:
    """Reads one answer. What comes after it, or beside it, taints the connection that it came on.

    Args:
        no_body: whether it has no body whatever its fields say: it answers HEAD.

    Attributes:
        stage: how far it has come.
        status: its status.
        fields: the fields of its head, names in lower case.
        pieces: what has come of its body and was not taken yet.
        queued: bytes of these.
        keeps: whether the instance would keep the connection.
        tainted: whether something came that is not of this answer.
        continues: whether the instance has asked for the request's body, or answered.
    """

    __slots__ = (
        "_codings",
        "_field_bytes",
        "_head_bytes",
        "_interim",
        "_lengths",
        "_no_body",
        "_options",
        "_parser",
        "_to_end",
        "continues",
        "fields",
        "keeps",
        "pieces",
        "queued",
        "stage",
        "status",
        "tainted",
    )

    def __init__(self, *, no_body: bool) -> None:
        self.stage = _HEAD
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.queued = 0
        self.keeps = self.tainted = self.continues = False
        self._no_body = no_body
        self._to_end = False  # nothing but the connection's end delimits the body
        self._head_bytes = self._interim = 0
        self._lengths = self._codings = self._field_bytes = 0
        self._options: list[bytes] = []  # of `Connection`
        # One for each answer: nothing of one can be left over in the next. It costs a third of a microsecond.
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Read what came.

        Raises:
            BadInstanceAnswer: it is no valid answer.
        """
        if self.stage is _HEAD:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.stage is _DONE:
                self.tainted = True
                return
            cause = error.__context__
            raise cause if isinstance(cause, BadInstanceAnswer) else _malformed(str(error)) from error
        if self.stage is _HEAD and self._head_bytes > _MAX_HEAD:
            raise _malformed(f"its head is longer than {_MAX_HEAD} bytes")

    def finish(self) -> None:
        """Note the connection's end, which ends a body that nothing else delimits."""
        if self.stage is _BODY and self._to_end:
            self.stage = _DONE

    def take(self) -> bytes:
        """Return what has come of the body since the last call."""
        pieces, self.pieces = self.pieces, []
        self.queued = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # The parser's side

    def on_message_begin(self) -> None:
        """Refuse a second answer."""
        if self.stage is _DONE:
            self.tainted = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those of trailers are dropped."""
        if self.stage is not _HEAD:
            return
        if len(self.fields) >= _MAX_FIELDS:
            raise _malformed(f"its head has more than {_MAX_FIELDS} fields")
        name, kind = _named(name) if len(name) <= _MAX_NAME else (name, _DROPPED)
        self._field_bytes += len(name) + len(value)
        if not VALUE.fullmatch(value):
            raise _malformed("a field has control characters")
        if kind == _PLAIN:
            self.fields.append((name, value))
            return
        if kind == _DROPPED:
            if not TOKEN.fullmatch(name):
                raise _malformed("a field's name is none")
            return
        self.fields.append((name, value))
        if kind == _CODING:
            self._codings += 1 if value.strip().lower() == b"chunked" else 2
        elif kind == _LENGTH:
            self._lengths += 1
        else:
            self._options += (part.strip().lower() for part in value.split(b","))

    def on_headers_complete(self) -> None:
        """Decide how the body is framed."""
        if self.stage is not _HEAD:
            return
        status: int = self._parser.get_status_code()
        version: str = self._parser.get_http_version()
        if 100 <= status < 200:
            self._take_interim(status)
            return
        if not 200 <= status <= 599 or version not in {"1.0", "1.1"}:
            raise _malformed("its status or version is none of HTTP/1.1")
        if self._codings > 1 or self._lengths > 1 or (self._codings and (self._lengths or version == "1.0")):
            raise _malformed("its framing is ambiguous")
        if self._field_bytes > _MAX_HEAD:
            raise _malformed(f"its head is longer than {_MAX_HEAD} bytes")
        self.status = status
        options = self._options
        self._to_end = not (self._no_body or status in {204, 304} or self._codings or self._lengths)
        self.keeps = not self._to_end and (b"close" not in options if version == "1.1" else b"keep-alive" in options)
        self.stage = _DONE if self._no_body else _BODY
        self.continues = True

    def on_body(self, data: bytes) -> None:
        """Queue a part of the body."""
        if self.stage is _BODY:
            self.pieces.append(data)
            self.queued += len(data)
        else:
            self.tainted = True

    def on_message_complete(self) -> None:
        """Note that the answer is complete; one that only says that there is more to come is not."""
        if self.stage is _BODY:
            self.stage = _DONE

    def _take_interim(self, status: int) -> None:
        if status == 101:
            raise _malformed("it changes the protocol, which nobody asked for")
        self._interim += 1
        if self._interim > _MAX_INTERIM:
            raise _malformed(f"it has more than {_MAX_INTERIM} interim answers")
        self.fields = []
        self._lengths = self._codings = self._head_bytes = self._field_bytes = 0
        self._options = []
        if status == 100:
            self.continues = True


def _malformed(why: str) -> BadInstanceAnswer:
    return BadInstanceAnswer(f"the instance's answer is no valid HTTP: {why}", hint="see the module's log")
