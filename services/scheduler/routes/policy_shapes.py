"""What policies, assignments and simulations look like over HTTP, for OpenAPI; fields may be added, never removed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from libs.common.describing import Shapes


class Fault(Struct):
    """What is wrong with a document, or deserves a second look, and where."""

    line: int
    column: int
    path: str
    error: str
    detail: str


class Checked(Struct):
    """Errors and warnings of a document."""

    errors: list[Fault]
    warnings: list[Fault]


class SimulationNamed(Struct):
    """The simulation a decision was based on."""

    simulation_id: str
    hash: str | None


class VersionInShort(Struct):
    """A version of a policy and its history; for the built-in one only its name and that it is active."""

    policy: str
    version: int
    state: str
    author: str | None
    etag: str | UnsetType = UNSET
    writers: list[str] | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    changed_at: datetime | UnsetType = UNSET
    submitted_by: str | UnsetType | None = UNSET
    submitted_at: datetime | UnsetType | None = UNSET
    decided_by: str | UnsetType | None = UNSET
    decided_at: datetime | UnsetType | None = UNSET
    comment: str | UnsetType | None = UNSET
    retired_at: datetime | UnsetType | None = UNSET
    simulation: SimulationNamed | UnsetType | None = UNSET


class VersionChecked(VersionInShort, kw_only=True):
    """A version that was written, and the faults and warnings of its document."""

    errors: list[Fault]
    warnings: list[Fault]


class ComingActivation(Struct):
    """An upcoming activation."""

    version: int
    effective_at: datetime
    in_flight: str


class VersionWhole(VersionInShort, kw_only=True):
    """A version with its document, whose keys appear next to these (`GET /v1/policies/schema`), and its upcoming activations."""

    coming: list[ComingActivation] | UnsetType = UNSET


class Change(Struct):
    """A value that differs; null where absent."""

    path: str
    from_: Any = field(name="from")
    to: Any


class ChangedStep(Struct):
    """A step both versions have."""

    id: str
    changes: list[Change]


class VersionDifference(Struct):
    """The differences from another version."""

    against: str
    policy: list[Change]
    added: list[dict[str, Any]]
    removed: list[dict[str, Any]]
    changed: list[ChangedStep]
    moved: list[str]


class ChainLink(Struct):
    """A change and its place in the chain: `hash` is over it and `previous`."""

    tenant: str
    chain: str
    seq: int
    at: datetime
    by: str
    action: str
    version: int | None
    detail: dict[str, Any]
    previous: str
    hash: str


class Withdrawn(Struct):
    """Withdrawn activations: their moments."""

    policy: str
    version: int
    withdrawn: list[datetime]


class Activated(Struct):
    """A version that becomes active."""

    policy: str
    version: int
    effective_at: datetime
    in_flight: str


class PolicyNumbered(Struct):
    """A policy and the number of its active version."""

    name: str
    version: int | None


class AssignedPolicy(Struct):
    """Which debts a policy applies to; null or empty matches everything."""

    policy: PolicyNumbered
    products: list[str]
    segments: list[str]
    jurisdictions: list[str]


class Assignments(Struct):
    """The assignments in order, and the policy for all other debts."""

    items: list[AssignedPolicy]
    otherwise: PolicyNumbered
    next: str | None


class Progress(Struct):
    """The progress of a simulation."""

    done: int
    total: int | None


class SimulationInShort(Struct):
    """A simulation: what was asked for, and its progress."""

    simulation_id: str
    state: str
    policy: str
    version: int | None
    document_hash: str
    asked: dict[str, Any]
    by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: Progress
    reason: str | None
    hash: str | None


class Simulation(SimulationInShort, kw_only=True):
    """A simulation with its result, once there is one (docs/policies.md)."""

    result: dict[str, Any] | None


POLICIES: Shapes = {
    "validatePolicies": Checked, "getPolicies": list[VersionInShort], "postPolicies": VersionChecked, "getPolicyVersion": VersionWhole,
    "putPolicyVersion": VersionChecked, "getPolicyVersionDiff": VersionDifference, "getPolicyHistory": list[ChainLink],
    "submitPolicyVersion": VersionChecked, "approvePolicyVersion": VersionInShort, "rejectPolicyVersion": VersionInShort,
    "activatePolicyVersion": Activated, "withdrawPolicyVersion": Withdrawn,
    "retirePolicyVersion": VersionInShort, "getAssignments": Assignments, "putAssignments": Assignments,
    "getAssignmentsHistory": list[ChainLink], "postSimulations": Simulation, "getSimulations": list[SimulationInShort],
    "getSimulation": Simulation, "deleteSimulation": Simulation,
}  # fmt: skip
