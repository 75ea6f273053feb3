"""The head: the one mutable object of a module. Who owns it, in which epoch, and which manifest is its data.

It is created when a module is first taken and from then on only replaced under a condition on its etag. Epochs only
rise while the module exists. Every written head carries a fresh `nonce`: two heads never have the same content, so
never the same etag, and a writer whose acknowledgement got lost can tell its own write from another's.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

import msgspec
from blake3 import blake3

from backends.errors import CorruptData

FORMAT = 1
LIMIT = 64 * 1024
"""The most bytes that a head may have."""
SALT_SIZE = 16
"""Bytes of the salt at the end of each blob."""

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


@dataclass(frozen=True, slots=True)
class Head:
    """A module's head as it was read or written.

    Attributes:
        format: Version of the format, 1.
        owner: Who may commit: printable ASCII without spaces, at most 256 characters.
        epoch: Rises by one with every change of owner.
        kind: The kind of the module's data.
        manifest: Blob id of the committed manifest; None before the first commit.
        previous: Blob id of an earlier manifest that is kept beside it.
        tombstone: Whether the module is being erased.
        etag: The store's identity of this very write.
        nonce: Unique to this write.
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

    @property
    def salt(self) -> bytes:
        """What ends every blob that is written while this head is the module's: 16 bytes that its nonce decides.

        So a name written under one head is written under no other, and a delete that was sent under an earlier head
        and arrives late can't strike it.
        """
        return blake3(self.nonce.encode()).digest(length=SALT_SIZE)

    @property
    def identity(self) -> str:
        """What "has the head changed" compares: owner, epoch and manifest."""
        return f"{self.owner}/{self.epoch}/{self.manifest or '-'}"

    def to_json(self) -> bytes:
        """The stored form. The etag is the store's and not part of it."""
        return msgspec.json.encode(
            _Stored(
                self.format, self.owner, self.epoch, self.kind, self.manifest, self.previous, self.tombstone, self.nonce
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
        )


def valid_name(name: str) -> bool:
    """Whether an owner or a kind may stand in a head: 1 to 256 printable ASCII characters without spaces."""
    return _NAME.fullmatch(name) is not None


def fresh_nonce() -> str:
    """A nonce for a head about to be written."""
    return secrets.token_hex(8)
