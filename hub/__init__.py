"""modhub: one supervised, stateful server process per module, on demand.

with Hub(data_dir="/var/lib/modhub", backend="file:///var/lib/modhub-backend") as hub:
    info = hub.provision("tenant-42")
"""

from hub._version import __version__
from hub.config import HubConfig, HubOptions
from hub.errors import (
    BackendError,
    BudgetExceeded,
    CheckpointFailed,
    DataConflict,
    DataDirInUse,
    HibernateFailed,
    HubClosed,
    InvalidConfig,
    InvalidMessage,
    InvalidModuleId,
    InvalidState,
    JournalError,
    KindMismatch,
    LeaseHeld,
    LocalDataError,
    ModhubError,
    ModuleBusy,
    ModuleFault,
    ModuleNotFound,
    OperationCancelled,
    OperationNotFound,
    OperationTimeout,
    PortsExhausted,
    ProvisionFailed,
    RecoverFailed,
    StartFailed,
    StopFailed,
    UnknownKind,
    UnsupportedPlatform,
    WakeFailed,
)
from hub.events import Event
from hub.hub import AsyncHub, Hub
from hub.info import BackendStatus, ModuleInfo, Obliterated, OperationInfo
from hub.instance import Kind
from hub.lifecycle import State
from hub.messages import (
    Checkpoint,
    Deprovision,
    Describe,
    DescribeBackend,
    DescribeOperation,
    Hibernate,
    ListModules,
    Obliterate,
    Provision,
    Subscribe,
    Touch,
    Wake,
)

__all__ = [
    # the hub
    "AsyncHub",
    "Hub",
    "HubConfig",
    "HubOptions",
    "Kind",
    "__version__",
    # what it tells
    "BackendStatus",
    "Event",
    "ModuleInfo",
    "Obliterated",
    "OperationInfo",
    "State",
    # messages to its registry
    "Checkpoint",
    "Deprovision",
    "Describe",
    "DescribeBackend",
    "DescribeOperation",
    "Hibernate",
    "ListModules",
    "Obliterate",
    "Provision",
    "Subscribe",
    "Touch",
    "Wake",
    # errors
    "BackendError",
    "BudgetExceeded",
    "CheckpointFailed",
    "DataConflict",
    "DataDirInUse",
    "HibernateFailed",
    "HubClosed",
    "InvalidConfig",
    "InvalidMessage",
    "InvalidModuleId",
    "InvalidState",
    "JournalError",
    "KindMismatch",
    "LeaseHeld",
    "LocalDataError",
    "ModhubError",
    "ModuleBusy",
    "ModuleFault",
    "ModuleNotFound",
    "OperationCancelled",
    "OperationNotFound",
    "OperationTimeout",
    "PortsExhausted",
    "ProvisionFailed",
    "RecoverFailed",
    "StartFailed",
    "StopFailed",
    "UnknownKind",
    "UnsupportedPlatform",
    "WakeFailed",
]
