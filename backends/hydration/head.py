"""The head: the one mutable object of a module. Who owns it, in which epoch, and which manifest is its data.

It is created when a module is first taken and from then on only replaced under a condition on its etag. Epochs only
rise. Every written head carries a fresh `nonce`: two heads never have the same content, so never the same etag, and a
writer whose acknowledgement got lost can tell its own write from another's. Every one but the renewal of a lease has a
fresh `term` too: what is done under a head holds by its term, so that a renewal disturbs nothing that is under way.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass

import msgspec
from blake3 import blake3

from backends.errors import CorruptData

FORMAT = 1
LIMIT = 64 * 1024
"""The most bytes that a head may have."""
SALT_SIZE = 16
"""Bytes of the salt at the end of each blob."""

LEASE_LIMIT_MS = 366 * 24 * 3600 * 1000
"""The longest lease in ms. A longer one would be one for ever: nobody could take the module over."""

_BLOB = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[!-~]{1,256}")
_MAX_EPOCH = 2**53


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    owner: str
    epoch: int
    kind: str
    manifest: str | None
    previous: str | None
    tombstone: bool
    nonce: str
    term: str = ""
    lease_ms: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """A module's head as it was read or written.

    Attributes:
        format: Version of the format, 1.
        owner: Who may commit: printable ASCII without spaces, at most 256 characters.
        epoch: Rises with every claim and every erasure.
        kind: The kind of the module's data.
        manifest: Blob id of the committed manifest; None before the first commit.
        previous: Blob id of an earlier manifest that is kept beside it.
        tombstone: Whether the module is being erased.
        etag: The store's identity of this very write.
        nonce: Unique to this write.
        term: Unique to this claim, commit or tombstone, or to the head that was written anew before garbage is deleted;
            renewals keep it. The nonce, where nothing is said.
        lease_ms: How long others have to see this very head before they may take the module, in ms; 0 = not at all. In
            a tombstone: how long the lease that it overrode may have run on.
    """

    format: int
    owner: str
    epoch: int
    kind: str
    manifest: str | None
    previous: str | None
    tombstone: bool
    etag: str
    nonce: str = ""
    term: str = ""
    lease_ms: int = 0

    def __post_init__(self) -> None:
        if not self.term:
            object.__setattr__(self, "term", self.nonce)  # frozen, and heads of before there were terms have none

    @property
    def salt(self) -> bytes:
        """What ends every blob that is written in this head's term: 16 bytes that the term decides.

        So a name written in one term is written in no other, and a delete that was sent in an earlier term and arrives
        late can't strike it.
        """
        return blake3(self.term.encode()).digest(length=SALT_SIZE)

    @property
    def claim(self) -> str:
        """Whose it is, and since which claim: owner and epoch. Commits and renewals keep it."""
        return f"{self.owner}/{self.epoch}"

    @property
    def identity(self) -> str:
        """What "has the head changed" compares: owner, epoch and manifest."""
        return f"{self.owner}/{self.epoch}/{self.manifest or '-'}"

    def to_json(self) -> bytes:
        """The stored form. The etag is the store's and not part of it."""
        return msgspec.json.encode(
            _Stored(
                self.format,
                self.owner,
                self.epoch,
                self.kind,
                self.manifest,
                self.previous,
                self.tombstone,
                self.nonce,
                self.term,
                self.lease_ms,
            )
        )

    @classmethod
    def from_json(cls, data: bytes, etag: str) -> Head:
        """Read the stored form, strictly.

        Args:
            data: The object's content.
            etag: The object's etag.

        Returns:
            The head.

        Raises:
            CorruptData: It is not a head of this format; the message says why.
        """
        if len(data) > LIMIT:
            raise CorruptData("the head is too large")
        try:
            stored = msgspec.json.decode(data, type=_Stored)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CorruptData(f"the head is not readable: {error}") from error
        if stored.format != FORMAT:
            raise CorruptData(
                f"the head has format {stored.format}, this version reads {FORMAT}",
                hint="A newer modhub wrote it; use that version or a later one.",
            )
        blobs = [blob for blob in (stored.manifest, stored.previous) if blob is not None]
        if (
            not 1 <= stored.epoch <= _MAX_EPOCH
            or not valid_name(stored.owner)
            or not valid_name(stored.kind)
            or not 1 <= len(stored.nonce) <= 64
            or len(stored.term) > 64
            or not 0 <= stored.lease_ms <= LEASE_LIMIT_MS
            or not all(_BLOB.fullmatch(blob) for blob in blobs)
        ):
            raise CorruptData("the head has a field outside its bounds")
        return cls(
            format=stored.format,
            owner=stored.owner,
            epoch=stored.epoch,
            kind=stored.kind,
            manifest=stored.manifest,
            previous=stored.previous,
            tombstone=stored.tombstone,
            etag=etag,
            nonce=stored.nonce,
            term=stored.term,
            lease_ms=stored.lease_ms,
        )


def valid_name(name: str) -> bool:
    """Whether an owner or a kind may stand in a head: 1 to 256 printable ASCII characters without spaces."""
    return _NAME.fullmatch(name) is not None


def fresh_token() -> str:
    """A nonce or term for a head about to be written."""
    return secrets.token_hex(8)


def first_epoch() -> int:
    """The epoch of a head that is made where none is: beyond all that an erased head before it can have had.

    Microseconds since 1970, since an erasure leaves nothing to count on from, and no claim takes less than one. Fences
    do not rely on it: a clock that was set back can make an epoch lower, but no term the same.
    """
    return max(1, min(time.time_ns() // 1000, _MAX_EPOCH // 2))
