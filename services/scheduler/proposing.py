"""A proposed policy: what is simulated, and the result its approver has seen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.errors import DomainError
from services.scheduler.policies.places import Fault
from services.scheduler.policies.reading import Document, understand
from services.scheduler.store import policies, simulations
from services.scheduler.store.policies import Which

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy's document as JSON; `version` if it is a stored one."""

    policy: str
    version: int | None
    document: bytes

    @property
    def hash(self) -> str:
        """Return the hash that identifies the document; differences in formatting do not change it."""
        return hashlib.sha256(self.document).hexdigest()


@dataclass(frozen=True, slots=True)
class Seen:
    """The simulation that an approval is pinned to."""

    simulation_id: str
    hash: str


async def kept(conn: AsyncConnection, which: Which) -> Proposal:
    """Return a stored version; it must have no faults, although a draft may."""
    row = await policies.find(conn, which)
    if row is None:
        raise DomainError(404, "not_found", f"no version {which.version} of {which.name[:128]} is known")
    _without_faults(understand(row.source))
    return Proposal(which.name, which.version, row.document)


def written(document: str | dict[str, Any]) -> Proposal:
    """Return a document that was never stored."""
    found = understand(document if isinstance(document, str) else _encode(document).decode())
    _without_faults(found)
    return Proposal(found.name or "", None, _encode(found.read.value))


async def seen(conn: AsyncConnection, row: RowMapping, which: Which, simulation_id: str | None, *, needed: bool) -> Seen | None:
    """Return the simulation a decision names; it must have finished, and be of exactly this document."""
    if simulation_id is None:
        if needed:
            raise DomainError(409, "simulation_needed", "a policy can only be approved with a simulation here: name one")
        return None
    found = await simulations.find(conn, which.tenant, simulation_id)
    if found is None:
        raise DomainError(404, "not_found", f"no simulation {simulation_id[:128]} is known")
    if found.state != "done":
        raise DomainError(409, "simulation_not_done", f"simulation {simulation_id} is {found.state}", state=found.state)
    if found.policy != which.name or found.document_hash != Proposal(which.name, which.version, row.document).hash:
        raise DomainError(409, "stale_simulation", "the policy has changed since it was simulated; simulate it again")
    return Seen(simulation_id, found.hash)


def _without_faults(document: Document) -> None:
    if document.faults:
        errors = [fault_shown(fault) for fault in document.faults]
        raise DomainError(422, "invalid_policy", "it has errors and cannot be simulated", errors=errors, warnings=[])


def fault_shown(fault: Fault) -> dict[str, Any]:
    """Return an error or a warning as the API shows it."""
    return {
        "line": fault.place.line, "column": fault.place.column, "path": fault.path, "error": fault.error, "detail": fault.detail,
    }  # fmt: skip
