# the names say what happened ("HeadConflict"); that they are errors is said by their root
"""Every error of the package, and the translation of the system's errors into them.

One root, `BackendsError`; each error says what to do next in `hint`. Which side failed is part of the type: the
backend's errors begin with "Backend", the local disk's with "Local". No message ever contains a credential: URIs with
credentials are refused before anything could repeat them.
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from backends.hydration.head import Head


class BackendsError(Exception):
    """Root of all errors of this package.

    Args:
        message: What happened, in one sentence.
        hint: What to do next; the class's own `default_hint` unless given.
    """

    default_hint: ClassVar[str] = "See the error this one was raised from."

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint: str = hint or self.default_hint


class InvalidURI(BackendsError):
    """A backend URI that cannot be used. Never repeats the URI, which may hold a secret."""

    default_hint = "Use file:///absolute/path, or a scheme of an installed plugin."


class InvalidName(BackendsError, ValueError):
    """A module id, key or prefix that no store could hold."""

    default_hint = "Module ids are 1 to 63 characters of a-z A-Z 0-9 -, starting with a letter or digit."


class BackendUnavailable(BackendsError):
    """The backend could not be reached or failed while it worked. A later attempt may succeed."""

    default_hint = "Check that the backend is mounted or reachable, then try again."


class BackendDenied(BackendsError):
    """The backend refuses the operation to these credentials or this user."""

    default_hint = "Check owner, mode and mount options of the folder, or the credentials' permissions."


class BackendMisconfigured(BackendsError):
    """The backend can't be used as it is configured: no such bucket, wrong region, certificate, clock, missing package.

    Unlike `BackendUnavailable`, waiting does not help; somebody has to change something.
    """

    default_hint = "Correct the backend's URI, its options or the machine's set-up as the message says."


class BackendFull(BackendsError):
    """The backend has no space or quota left."""

    default_hint = "Free space or raise the quota on the backend, then try again."


class BlobNotFound(BackendsError):
    """A read of a key that does not exist.

    Args:
        key: The missing key.
    """

    default_hint = "The object was deleted or never written; list the prefix to see what is there."

    def __init__(self, key: str, *, hint: str | None = None) -> None:
        super().__init__(f"no object {key!r} in the backend", hint=hint)
        self.key = key


class PreconditionFailed(BackendsError):
    """A conditional write or delete whose condition did not hold; nothing was changed."""

    default_hint = "Somebody else changed the object; read it again and decide anew."


class CorruptData(BackendsError):
    """The backend holds something that is not what was written there, or was made to do harm.

    Args:
        message: What is wrong.
        blob: Key of the object that is at fault, where one is.
    """

    default_hint = "Restore the named object from a copy of the backend, or obliterate the module."

    def __init__(self, message: str, *, blob: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.blob = blob


class HeadConflict(BackendsError):
    """The module's head is not the one this operation began with: another owner took it. Nothing was committed.

    Args:
        message: What was found.
        current: The head as it is now, where it could be read; None also stands for "no head".
    """

    default_hint = "Another owner holds the module; read its head and decide anew."

    def __init__(self, message: str, *, current: Head | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.current = current


class LeaseHeld(BackendsError):
    """Another owner holds the module by a lease that this process has not yet seen run out. Nothing was written.

    Args:
        message: What was found.
        owner: Who holds it.
        remaining_s: Seconds after which it can be taken, unless its owner renews it.
    """

    default_hint = "Use the module where it is held, or try again when the lease may have run out."

    def __init__(self, message: str, *, owner: str, remaining_s: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.owner = owner
        self.remaining_s = remaining_s


class Tombstoned(BackendsError):
    """The module is being erased; the only operation left for it is `erase`."""

    default_hint = "Run erase again until it completes; afterwards the module can be created anew."


class EraseIncomplete(BackendsError):
    """Objects kept appearing below the module's prefix while it was erased."""

    default_hint = "Stop whatever still writes below this prefix, then erase again."


class TransferCancelled(BackendsError):
    """The caller's token ended the transfer; nothing was committed and nothing was left behind."""

    default_hint = "Start the transfer again when it is wanted."


class SourceChanged(BackendsError):
    """The source kept changing while it was read, so no consistent commit could be made of it."""

    default_hint = "Stop the process that writes there, then dehydrate again."


class UnsupportedFile(BackendsError):
    """The source holds something that cannot be sent home, such as a device."""

    default_hint = "Remove the named file from the module's directory."


class LocalDiskError(BackendsError):
    """The local disk failed or refused: scratch, destination, index or source; not the backend."""

    default_hint = "Check the local data directory: owner, mode, mount and health of the disk."


class LocalDiskFull(LocalDiskError):
    """The local disk has no space or quota left."""

    default_hint = "Free space on the local disk, then try again."


class DestinationExists(LocalDiskError):
    """The directory to hydrate into exists already; nothing ever overwrites it."""

    default_hint = "Move the existing directory away, or choose another destination."


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


@contextmanager
def backend_errors(doing: str) -> Generator[None]:
    """Raise the system's errors of a backend's own input and output as typed ones.

    Args:
        doing: What was being done and to what, to begin the message with; must hold no secret.

    Raises:
        BackendFull: No space, quota or file size left.
        BackendDenied: Read-only, or not permitted.
        BackendUnavailable: Anything else: missing, stale, unreadable, broken.
    """
    try:
        yield
    except OSError as error:
        message = f"{doing}: {_reason(error)}"
        if error.errno in _FULL:
            raise BackendFull(message) from error
        if error.errno in _DENIED:
            raise BackendDenied(message) from error
        raise BackendUnavailable(message) from error


@contextmanager
def local_errors(doing: str) -> Generator[None]:
    """Raise the system's errors of the local disk as typed ones that say it was the local side.

    Args:
        doing: What was being done and to what, to begin the message with.

    Raises:
        LocalDiskFull: No space, quota or file size left.
        LocalDiskError: Anything else.
    """
    try:
        yield
    except OSError as error:
        message = f"{doing}: {_reason(error)}"
        if error.errno in _FULL:
            raise LocalDiskFull(message) from error
        raise LocalDiskError(message) from error
