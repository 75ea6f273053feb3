"""The errors of `backends` as the hub's own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import backends
from backends import (
    BackendsError,
    Head,
    HeadConflict,
    LocalDiskError,
    SourceChanged,
    Tombstoned,
    TransferCancelled,
    UnsupportedFile,
)
from hub.errors import BackendError, DataConflict, InvalidState, LeaseHeld, LocalDataError, OperationCancelled
from hub.operation import Operation, Phase


@contextmanager
def translated(subject: str, operation: Operation | None = None) -> Generator[None]:
    """Turn the errors of `backends` into the hub's.

    Args:
        subject: what failed, to begin the message with; a module's id.
        operation: the operation that it belongs to.
    """
    try:
        yield
    except TransferCancelled as error:
        reason = operation.cancel_reason if operation else ""
        raise OperationCancelled(f"{subject}: {reason or 'the transfer was cancelled'}") from error
    except backends.LeaseHeld as error:
        raise LeaseHeld(
            f"{subject}: the hub {error.owner} holds it",
            hint=f"use or deprovision it there; if that hub is gone, try again in {error.remaining_s:.1f} s",
            retry_after_s=error.remaining_s,
        ) from error
    except HeadConflict as error:
        if operation is not None and operation.phase is Phase.HYDRATING:
            hint = "another hub has just taken it, and nothing of it is here: use it there, or try again"
        else:
            hint = "another hub wrote meanwhile; the local data is kept"
        raise DataConflict(f"{subject}: {error}", hint=hint) from error
    except Tombstoned as error:
        raise InvalidState(
            f"{subject}: an obliteration was begun and is not complete", hint="obliterate it again"
        ) from error
    except (LocalDiskError, SourceChanged, UnsupportedFile) as error:
        raise LocalDataError(f"{subject}: {error}", hint=error.hint) from error
    except BackendsError as error:
        raise BackendError(f"{subject}: {error}", hint=error.hint) from error
    except OSError as error:
        raise LocalDataError(f"{subject}: {error}") from error


def data_conflict(module_id: str, base: str | None, found: Head | None, data: Path) -> DataConflict:
    """Return the error of local data that grew from a claim which is not the module's any more.

    Args:
        module_id: the module.
        base: the claim.
        found: the head as it is now.
        data: the directory of the local data.
    """
    holds = "nothing" if found is None else "an obliteration" if found.tombstone else found.claim
    return DataConflict(
        f"module {module_id!r}: local data grew from {base}, the backend now holds {holds}",
        hint=f"both are kept: move {data} away, keep of it what is needed, and deprovision the module here, "
        "which then ends; to obliterate it would destroy both",
    )
