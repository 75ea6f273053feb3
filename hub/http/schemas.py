"""Bodies of requests, and of those answers that are no dataclass of `hub.info`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hub.http.config import Role
from hub.info import ModuleInfo, Obliterated, OperationInfo, UsageSample

ModuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$")]
OPERATIONS = ("provision", "hibernate", "wake", "deprovision", "checkpoint", "obliterate")
OperationName = Literal["provision", "hibernate", "wake", "deprovision", "checkpoint", "obliterate"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ProvisionBody(_Model):
    """What a provision may be told."""

    kind: str | None = Field(
        None, description="Kind of server; null = the recorded one, else the default.", min_length=1, max_length=200
    )


class BulkBody(_Model):
    """One operation on many modules."""

    operation: OperationName
    module_ids: list[ModuleId] = Field(
        min_length=1, max_length=1000, json_schema_extra={"uniqueItems": True}, description="Each at most once."
    )
    kind: str | None = Field(None, description="Kind of server, for provision alone.", min_length=1, max_length=200)


class Problem(BaseModel):
    """Why a request failed (RFC 9457), with further members by its code."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:modhub:problem:` and the code; stable.")
    title: str
    status: int
    detail: str = Field(description="What is wrong this time.")
    hint: str = Field(description="What to do next; may be empty.")
    code: str = Field(description="Stable name of the kind of problem.")


class Outcome(BaseModel):
    """What became of one module of many."""

    module_id: str
    status: Literal["done", "failed"]
    module: ModuleInfo | None
    obliterated: Obliterated | None
    problem: Problem | None


class Outcomes(BaseModel):
    """What became of the modules, in the order asked."""

    outcomes: list[Outcome]


class Operations(BaseModel):
    """Operations."""

    operations: list[OperationInfo]


class Usage(BaseModel):
    """What a module's processes used of late, the oldest sample first."""

    samples: list[UsageSample]


class Kinds(BaseModel):
    """The configured kinds."""

    kinds: list[str]
    default: str


class WhoAmI(BaseModel):
    """Who asks."""

    name: str
    role: Role
    authenticated: bool


Json = dict[str, Any]
