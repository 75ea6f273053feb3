"""Blob stores and hydration: a module's directory to a backend and back, incremental, verified and erasable.

Knows nothing of actors or of what runs on the data. All calls block; run them in worker threads and end them by their
`cancelled` token.
"""

from __future__ import annotations

from backends.blobstore import BlobInfo, BlobStore, Closeable, Data, Guard, Purged, Remnant
from backends.directory import remove_tree
from backends.errors import (
    BackendDenied,
    BackendFull,
    BackendMisconfigured,
    BackendsError,
    BackendUnavailable,
    BlobNotFound,
    CorruptData,
    DestinationExists,
    EraseIncomplete,
    HeadConflict,
    InvalidName,
    InvalidURI,
    LeaseHeld,
    LocalDiskError,
    LocalDiskFull,
    PreconditionFailed,
    SourceChanged,
    Tombstoned,
    TransferCancelled,
    UnsupportedFile,
)
from backends.hydration.dehydrate import Dehydrated, Stats
from backends.hydration.erase import Erased
from backends.hydration.head import Head
from backends.hydration.hydrate import Hydrated
from backends.hydration.inspection.catalogue import (
    Bulk,
    Condition,
    ModuleSummary,
    StoreContents,
    list_modules,
    summarise_module,
    summarise_modules,
)
from backends.hydration.inspection.content import Piece
from backends.hydration.inspection.inspection import Inspection
from backends.hydration.inspection.tree import Snapshot, TreeEntry
from backends.hydration.inspection.usage import Usage
from backends.hydration.inspection.verify import Finding, Flaw, Verified
from backends.hydration.lease import LeaseObserver
from backends.hydration.module import RemoteModule
from backends.hydration.pool import TransferPool
from backends.hydration.progress import Progress
from backends.identity import decode_module_id, encode_module_id, module_prefix
from backends.uri import open_store

__all__ = [
    # stores
    "open_store",
    "BlobStore",
    "BlobInfo",
    "Closeable",
    "Data",
    "Guard",
    "Purged",
    "Remnant",
    # identity
    "encode_module_id",
    "decode_module_id",
    "module_prefix",
    # hydration
    "RemoteModule",
    "LeaseObserver",
    "TransferPool",
    "Head",
    "Progress",
    "Dehydrated",
    "Stats",
    "Hydrated",
    "Erased",
    # inspection
    "Inspection",
    "Snapshot",
    "TreeEntry",
    "Piece",
    "Verified",
    "Finding",
    "Flaw",
    "Usage",
    "list_modules",
    "StoreContents",
    "Bulk",
    "summarise_modules",
    "summarise_module",
    "ModuleSummary",
    "Condition",
    # local trees
    "remove_tree",
    # errors
    "BackendsError",
    "InvalidURI",
    "InvalidName",
    "BackendUnavailable",
    "BackendDenied",
    "BackendMisconfigured",
    "BackendFull",
    "BlobNotFound",
    "PreconditionFailed",
    "CorruptData",
    "HeadConflict",
    "LeaseHeld",
    "Tombstoned",
    "EraseIncomplete",
    "TransferCancelled",
    "SourceChanged",
    "UnsupportedFile",
    "LocalDiskError",
    "LocalDiskFull",
    "DestinationExists",
]
