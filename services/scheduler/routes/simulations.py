"""Simulations over HTTP: requested, watched, read and cancelled (contract, section 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, Field, model_validator
from sqlalchemy import RowMapping

from libs.common import ids
from libs.common.api import answer, page
from libs.common.asked import Asked
from libs.common.auth import Principal, requires
from libs.common.errors import DomainError
from libs.common.moments import Moment
from libs.common.paging import Cursor, cut
from services.scheduler.domain.choosing import InFlight
from services.scheduler.finding import named
from services.scheduler.house_settings import HouseSettings, house_settings
from services.scheduler.policies.forms import Duration, PlaceName, Sent, seconds_of
from services.scheduler.proposing import Proposal, kept, written
from services.scheduler.routes.cases import Rooms, Wanted, asking_of
from services.scheduler.routes.desk import Limit, Reader
from services.scheduler.simulation import BehaviourAsked, PricesAsked, SimulationAsked
from services.scheduler.simulation import Wanted as Which
from services.scheduler.store import policies, simulations
from services.scheduler.store.keeping import whole_since

Writer = Annotated[Principal, Depends(requires("policies:write"))]
LONGEST_DAYS = 180
_MILLIONTHS_OF_A_PERCENT = 10_000
Share = Annotated[Decimal, Field(ge=0, le=100, decimal_places=4, description="a share in percent")]
Text = Annotated[str, Field(min_length=1, max_length=128)]
SimulationState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


class Form(Asked):
    """Rejects unknown fields."""


class CureForm(Form):
    """The share that has paid by this day past due without any contact."""

    day: int = Field(ge=1, le=3650)
    share: Share


def _rising(table: list[CureForm]) -> list[CureForm]:
    pairs = [(one.day, one.share) for one in table]
    if any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(pairs)):
        raise ValueError("days and shares must rise from line to line")
    return table


class BehaviourForm(Form):
    """How borrowers are assumed to behave; what is not given does not happen."""

    share_paying_after_contact: Share = Decimal(0)
    pays_within: Duration = "3d"
    cured_by_day: Annotated[list[CureForm], Field(max_length=100), AfterValidator(_rising)] = Field(default=[])
    share_paying_when_due: Share = Decimal(0)
    arrives: dict[Sent, Share] = Field(default={})
    tasks_take: Duration | None = None
    seed: int = Field(default=0, ge=0, lt=2**53)

    def asked(self) -> BehaviourAsked:
        """Return it as stored."""
        return BehaviourAsked(
            pays_after_contact=_millionths(self.share_paying_after_contact), pays_within_s=_seconds(self.pays_within),
            cured_by_day=tuple((one.day, _millionths(one.share)) for one in self.cured_by_day),
            pays_when_due=_millionths(self.share_paying_when_due),
            arrives={channel: _millionths(share) for channel, share in self.arrives.items()},
            tasks_take_s=None if self.tasks_take is None else _seconds(self.tasks_take),
        )  # fmt: skip


class FilterForm(Form):
    """Which debts; absent fields match everything."""

    products: list[Text] = Field(default=[], max_length=100)
    jurisdictions: list[PlaceName] = Field(default=[], max_length=100)
    currencies: list[Annotated[str, Field(pattern=r"^[A-Z]{3}$")]] = Field(default=[], max_length=20)
    borrowers: list[Text] = Field(default=[], max_length=1000)


class PricesForm(Form):
    """The price of an SMS part, or of a message on another channel, in millionths of the currency's unit; SMS parts by template."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    millionths: dict[Sent, Annotated[int, Field(ge=0, le=10**9)]]
    sms_parts: dict[Text, Annotated[int, Field(ge=1, le=50)]] = Field(default={})

    def asked(self) -> PricesAsked:
        """Return it as stored."""
        return PricesAsked(currency=self.currency, millionths=dict(self.millionths.items()), sms_parts=dict(self.sms_parts))


class SimulationForm(Form):
    """A stored version, or a document; and a period of the past, or a number of days forward."""

    policy: Text | None = None
    version: int | None = Field(default=None, ge=1, lt=1_000_000)
    document: dict[str, Any] | Annotated[str, Field(max_length=65536)] | None = None
    mode: Literal["past", "forward"]
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None
    days: int | None = Field(default=None, ge=1, le=LONGEST_DAYS)
    in_flight: InFlight = InFlight.PIN
    behaviour: BehaviourForm = BehaviourForm()
    filter: FilterForm = FilterForm()
    sample: Share = Decimal(100)
    prices: PricesForm | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.document is None) == (self.policy is None or self.version is None):
            raise ValueError("give either policy and version, or a document")
        if self.mode == "forward" and (self.days is None or self.from_ is not None or self.to is not None):
            raise ValueError("forward takes days only: it starts now")
        if self.mode == "past":
            self._past()
        return self

    def _past(self) -> None:
        if self.from_ is None or self.to is None or self.days is not None or not self.from_ < self.to:
            raise ValueError("past takes from and a later to, not days")
        if self.to - self.from_ > timedelta(days=LONGEST_DAYS):
            raise ValueError(f"at most {LONGEST_DAYS} days can be simulated")
        if self.behaviour != BehaviourForm(seed=self.behaviour.seed):
            raise ValueError("in the past, borrowers behave as they did: behaviour cannot be given")

    def asked(self, judged: HouseSettings) -> SimulationAsked:
        """Return everything but the policy, as stored."""
        wanted = self.filter
        return SimulationAsked(
            mode=self.mode, seed=self.behaviour.seed, from_at=self.from_, to=self.to, days=self.days, in_flight=self.in_flight.value,
            behaviour=self.behaviour.asked(), sample=_millionths(self.sample),
            filter=Which(
                products=tuple(wanted.products), jurisdictions=tuple(wanted.jurisdictions), currencies=tuple(wanted.currencies),
                borrowers=tuple(wanted.borrowers),
            ),
            prices=None if self.prices is None else self.prices.asked(), judged=judged,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Play:
    """What the simulation routes need in addition to the others."""

    begin: Callable[[], None]
    """Called when a simulation is waiting."""


def add_to(router: APIRouter, rooms: Rooms, play: Play) -> None:
    """Add these routes."""

    @router.post("/simulations", summary="Run a policy against the recorded past, or forward from the current debts", status_code=202)
    async def ask(form: SimulationForm, caller: Writer, request: Request) -> Response:
        by, made = named(caller), ids.fresh()
        proposal = await _proposed(rooms, caller, form)
        asked = simulations.Asked(
            caller.tenant, made, proposal.policy, proposal.version, proposal.document, proposal.hash,
            msgspec.json.encode(form.asked(await house_settings(rooms.desk.elsewhere, asking_of(request, caller))), order="deterministic"),
        )  # fmt: skip
        async with rooms.engine.begin() as conn:
            whole = await whole_since(conn)
            if form.from_ is not None and form.from_ < whole:
                raise DomainError(422, "days_no_longer_kept", f"facts are only stored since {whole.isoformat()}", since=whole.isoformat())
            await simulations.add(conn, asked, by=by, at=await rooms.clock.at(conn))
        play.begin()
        shown = await _read(rooms, caller, made)
        return answer(shown, 202, headers={"Location": f"{request.url.path}/{made}"})

    @router.get("/simulations", summary="Simulations, without their results")
    async def search(
        caller: Reader, *, policy: Wanted = None, state: SimulationState | None = None, limit: Limit = 100, cursor: Cursor
    ) -> Response:
        async with rooms.engine.connect() as conn:
            rows = await simulations.search(conn, caller.tenant, policy=policy, state=state, after=cursor or "", limit=limit + 1)
        found, following = cut(rows, limit, lambda row: str(row.simulation_id))
        return page([_shown(row) for row in found], following)

    @router.get("/simulations/{simulation_id}", summary="A simulation's progress, and its result with the hash that identifies it")
    async def read(simulation_id: str, caller: Reader) -> Response:
        return answer(await _read(rooms, caller, simulation_id))

    @router.delete("/simulations/{simulation_id}", summary="Cancel a waiting or running simulation")
    async def cancel(simulation_id: str, caller: Writer) -> Response:
        async with rooms.engine.begin() as conn:
            now = await rooms.clock.at(conn)
            ended = await simulations.cancel(conn, caller.tenant, simulation_id, by=named(caller), now=now)
        shown = await _read(rooms, caller, simulation_id)
        if not ended and shown["state"] != "cancelled":
            raise DomainError(409, "wrong_state", f"simulation {simulation_id} is {shown['state']}", state=shown["state"])
        return answer(shown)


async def _proposed(rooms: Rooms, caller: Principal, form: SimulationForm) -> Proposal:
    if form.document is not None:
        return await asyncio.to_thread(written, form.document)
    async with rooms.engine.connect() as conn:
        return await kept(conn, policies.Which(caller.tenant, form.policy or "", form.version or 0))


async def _read(rooms: Rooms, caller: Principal, simulation_id: str) -> dict[str, Any]:
    async with rooms.engine.connect() as conn:
        row = await simulations.find(conn, caller.tenant, simulation_id)
    if row is None:
        raise DomainError(404, "not_found", f"no simulation {simulation_id[:128]} is known")
    return {**_shown(row), "result": None if row.result is None else msgspec.Raw(row.result)}


def _shown(row: RowMapping) -> dict[str, Any]:
    return {
        "simulation_id": row.simulation_id, "state": row.state, "policy": row.policy, "version": row.version,
        "document_hash": row.document_hash, "asked": msgspec.Raw(row.asked), "by": row.by, "created_at": row.created_at,
        "started_at": row.started_at, "ended_at": row.ended_at, "progress": {"done": row.done, "total": row.total},
        "reason": row.reason, "hash": row.hash,
    }  # fmt: skip


def _millionths(percent: Decimal) -> int:
    return int(percent * _MILLIONTHS_OF_A_PERCENT)


def _seconds(duration: str) -> int:
    return int(seconds_of(duration).total_seconds())
