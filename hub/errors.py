"""Everything that `hub` raises: one root, each error says what to do next.

`code` is the stable name of the kind of error, for problem types and logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar


class ModhubError(Exception):
    """Root of all errors of the hub.

    Attributes:
        hint: what the reader can do next; empty where the message says it already.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Callable[..., ModhubError], tuple[Any, ...], Mapping[str, Any]]:
        # An exception is unpickled by calling its class, which fails where an argument must be given by name.
        return _unpickled, (type(self), *self.args), vars(self)


def _unpickled(cls: type[ModhubError], *args: Any) -> ModhubError:
    return cls.__new__(cls, *args)


class InvalidModuleId(ModhubError, ValueError):
    """The module id is not 1 to 63 characters of `a-z A-Z 0-9 -`, starting with a letter or digit."""

    code = "invalid-module-id"


class InvalidConfig(ModhubError, ValueError):
    """A configuration key or value can't be used; the message names it and what is allowed."""

    code = "invalid-config"


class InvalidMessage(ModhubError, TypeError):
    """The registry was sent something that is no message for it; its sender's error, and nobody else's."""

    code = "invalid-message"


class UnknownKind(ModhubError, LookupError):
    """No kind of this name is configured."""

    code = "unknown-kind"


class ModuleNotFound(ModhubError, LookupError):
    """The hub tracks no such module."""

    code = "module-not-found"


class OperationNotFound(ModhubError, LookupError):
    """No running or recent operation has this id."""

    code = "operation-not-found"


class InvalidState(ModhubError):
    """The operation is not open to the module in its present state."""

    code = "invalid-state"


class KindMismatch(ModhubError):
    """The module's data belongs to another kind than the one asked for."""

    code = "kind-mismatch"


class StartFailed(ModhubError):
    """The module's process did not become ready.

    Attributes:
        output: the last lines that the process wrote.
    """

    code = "start-failed"

    def __init__(self, message: str, *, hint: str = "", output: str = "") -> None:
        super().__init__(message, hint=hint)
        self.output = output

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\nlast output:\n{self.output}" if self.output else text


class ProvisionFailed(StartFailed):
    """Provisioning did not lead to a ready process; nothing of it is left behind."""

    code = "provision-failed"


class WakeFailed(StartFailed):
    """The process did not become ready on the kept data; the module stays hibernated."""

    code = "wake-failed"


class RecoverFailed(StartFailed):
    """The process did not become ready again; the module stays crashed and the watchdog goes on."""

    code = "recover-failed"


class PortsExhausted(ProvisionFailed, WakeFailed, RecoverFailed):
    """No port of the configured range is free; a failure of whatever start needed one."""

    code = "ports-exhausted"


class StopFailed(ModhubError):
    """The process can't be ended, not even by SIGKILL; its data is not touched."""

    code = "stop-failed"


class HibernateFailed(StopFailed):
    """The process did not stop cleanly in its `stop_timeout`; the module stays provisioned."""

    code = "hibernate-failed"


class CheckpointFailed(ModhubError):
    """The kind's hook made no copy of the data; nothing was sent home, and the module goes on as it was."""

    code = "checkpoint-failed"


class BackendError(ModhubError):
    """The backend can't be used, refuses, or holds corrupt data; neither side's data was touched.

    Attributes:
        retry_after_s: seconds until the hub itself tries to reach a backend that is unavailable, which was not even
            asked now; `None` where it was asked.
    """

    code = "backend-error"

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class LocalDataError(ModhubError):
    """The local disk is full, unreadable or not writable; what is there was not touched."""

    code = "local-data-error"


class DataConflict(ModhubError):
    """Local dirty data and the backend's data grew apart (another hub wrote meanwhile); both are kept."""

    code = "data-conflict"


class LeaseHeld(ModhubError):
    """Another hub holds the module by a lease in the backend; nothing was changed.

    Attributes:
        retry_after_s: seconds after which the module can be taken, unless that hub goes on renewing its lease.
    """

    code = "lease-held"

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class BudgetExceeded(ModhubError):
    """A budget of the hub is exhausted: nothing was started, and nothing of the module has changed.

    Attributes:
        budget: which one: `disk`, `instances`, `memory` or `starts`.
        retry_after_s: seconds after which it is worth asking again, as far as the hub can tell; 1 to 300.
    """

    code = "budget-exceeded"

    def __init__(self, message: str, *, hint: str = "", budget: str, retry_after_s: float) -> None:
        super().__init__(message, hint=hint)
        self.budget = budget
        self.retry_after_s = retry_after_s


class OperationTimeout(ModhubError, TimeoutError):
    """The caller's deadline passed.

    Attributes:
        op_id: the operation, which can be asked for.
        started: `False` = withdrawn, it never runs later; `True` = it goes on.
    """

    code = "operation-timeout"

    def __init__(self, message: str, *, op_id: str, started: bool) -> None:
        super().__init__(message)
        self.op_id = op_id
        self.started = started


class OperationCancelled(ModhubError):
    """A later deprovision or obliterate, or the end of the hub, ended the operation; its threads have ended.

    A checkpoint is ended by any operation on its module.
    """

    code = "operation-cancelled"


class ModuleBusy(ModhubError):
    """Too many operations wait for the module already."""

    code = "module-busy"


class ModuleFault(ModhubError):
    """A defect of modhub interrupted the operation; the log has its traceback, the module was resolved as at a start."""

    code = "module-fault"


class HubClosed(ModhubError):
    """The hub is closing or closed and takes no new operations."""

    code = "hub-closed"


class DataDirInUse(ModhubError):
    """Another hub runs on the data directory."""

    code = "data-dir-in-use"


class JournalError(ModhubError):
    """The hub's journal can't be read or written."""

    code = "journal-error"


class UnsupportedPlatform(ModhubError, ImportError):
    """The platform lacks what running instances needs."""

    code = "unsupported-platform"
