"""Who asks, and what they may do: bearer tokens, of which only hashes are known here."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from hub.http.config import Role, Token
from hub.http.problem import Refused

_RANKS = {role: rank for rank, role in enumerate(Role)}
_MAX_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: the token's name; `local` where there are no tokens.
        role: what they may do.
        authenticated: whether by a token.
        address: their address; empty on a Unix socket.
    """

    name: str
    role: Role
    authenticated: bool
    address: str

    @property
    def asked_by(self) -> str:
        """How the log and operations name them."""
        return f"{self.name}@{self.address}" if self.address else self.name


def may(role: Role, needed: Role) -> bool:
    """Tell whether a role includes another."""
    return _RANKS[role] >= _RANKS[needed]


class Authenticator:
    """Tells callers by their tokens.

    A token is made with 256 random bits, so one round of SHA-256 is enough: there is no dictionary to try.

    Args:
        tokens: the tokens; none = everybody is `local` and may do everything.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = [(token.name, token.role, bytes.fromhex(token.sha256)) for token in tokens]

    @property
    def required(self) -> bool:
        """Whether there are tokens."""
        return bool(self._tokens)

    def identify(self, authorization: str | None, address: str) -> Caller:
        """Return who sends a request.

        Args:
            authorization: its header field `Authorization`.
            address: where it comes from.

        Raises:
            Refused: there are tokens, and it has no valid one.
        """
        if not self._tokens:
            return Caller("local", Role.OBLITERATE, authenticated=False, address=address)
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not 0 < len(token) <= _MAX_TOKEN:
            raise _unauthenticated("no bearer token was sent", 'Bearer realm="modhub"')
        digest = hashlib.sha256(token.encode()).digest()
        found: tuple[str, Role] | None = None
        # All are compared, always in full: the time tells neither which one it was nor how near it came.
        for name, role, known in self._tokens:
            if hmac.compare_digest(digest, known):
                found = name, role
        if found is None:
            raise _unauthenticated("the token is not valid", 'Bearer realm="modhub", error="invalid_token"')
        return Caller(*found, authenticated=True, address=address)


def require(caller: Caller, needed: Role) -> None:
    """Refuse a caller who may not do what a role may.

    Raises:
        Refused: so it is.
    """
    if not may(caller.role, needed):
        challenge = f'Bearer realm="modhub", error="insufficient_scope", scope="{needed}"'
        raise Refused(
            "forbidden",
            f"this needs the role {needed}; the token {caller.name!r} has {caller.role}",
            hint=f"use a token with the role {needed}",
            headers={"www-authenticate": challenge},
        )


def _unauthenticated(detail: str, challenge: str) -> Refused:
    return Refused(
        "unauthenticated",
        detail,
        hint="send `Authorization: Bearer TOKEN`; `modhub token` makes one",
        headers={"www-authenticate": challenge},
    )
