"""One simulation, and one portion of it: read, run under two sets of rules, counted. It runs in separate processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from multiprocessing import connection, parent_process
from threading import Thread
from typing import Any, Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db.engine import make_engine
from libs.compliance import Packs, load_packs
from services.scheduler.domain.behaviour import WHOLE, Behaviour, draw
from services.scheduler.domain.case import Debt
from services.scheduler.domain.choosing import Active, Assignment, Choices, InFlight
from services.scheduler.domain.policy import Policy
from services.scheduler.domain.simulating import simulate
from services.scheduler.domain.subjects import Begun, Rule, Subject, Terms
from services.scheduler.domain.tally import Prices, Tally, difference, shown
from services.scheduler.house_settings import HouseSettings
from services.scheduler.policies.reading import decode
from services.scheduler.rulebook import AssignmentItem
from services.scheduler.store import book
from services.scheduler.store.book import Portion

NICE = 10
"""Processes that answer requests go first."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which debts; empty fields match everything."""

    products: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    borrowers: tuple[str, ...] = ()


class BehaviourAsked(msgspec.Struct, frozen=True, kw_only=True):
    """How borrowers are assumed to behave; shares in millionths, times in seconds."""

    pays_after_contact: int = 0
    pays_within_s: int = 3 * 86400
    cured_by_day: tuple[tuple[int, int], ...] = ()
    pays_when_due: int = 0
    arrives: dict[str, int] = {}
    tasks_take_s: int | None = None


class PricesAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What messages cost, in millionths of the currency's unit."""

    currency: str
    millionths: dict[str, int] = {}
    sms_parts: dict[str, int] = {}


class SimulationAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but the policy, as stored."""

    mode: Literal["past", "forward"]
    seed: int = 0
    from_at: datetime | None = None
    to: datetime | None = None
    days: int | None = None
    in_flight: str = InFlight.PIN.value
    behaviour: BehaviourAsked = BehaviourAsked()
    filter: Wanted = Wanted()
    sample: int = WHOLE
    prices: PricesAsked | None = None
    judged: HouseSettings = HouseSettings()


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """One set of rules: assignments in order, the active versions by name, and which policy takes over running spells."""

    assignments: tuple[AssignmentItem, ...] = ()
    active: dict[str, tuple[int, str]] = {}
    takes_over: str | None = None
    stopped: tuple[str, ...] = ()
    """Names of active policies whose experiment is over."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What every portion needs: the same for all, and small."""

    tenant: str
    asked: SimulationAsked
    from_at: datetime
    to: datetime
    settle_s: float
    documents: dict[str, bytes]
    """By `name@version`, as JSON."""
    new: Chosen
    old: Chosen


@dataclass(frozen=True, slots=True)
class Both:
    """The results of the new rules and of the old ones on the same debts."""

    new: Tally
    old: Tally


def play_portion(url: str, setup: Setup, portion: Portion) -> Both:
    """Read and simulate a portion: the work of one pool process."""
    return play(setup, asyncio.run(_read(url, setup, portion)))


async def read(conn: AsyncConnection, setup: Setup, portion: Portion) -> list[Subject]:
    """Return the wanted borrowers of a portion."""
    await conn.exec_driver_sql("set transaction isolation level repeatable read, read only")
    if setup.asked.mode == "past":
        found = await book.past(conn, portion, setup.from_at, setup.to)
    else:
        found = await book.present(conn, portion, setup.from_at)
    return [one for subject in found if _in_sample(subject, setup.asked) and (one := _wanted(subject, setup.asked.filter)) is not None]


def play(setup: Setup, subjects: list[Subject]) -> Both:
    """Simulate borrowers under both sets of rules."""
    policies = {_which(name): decode(msgspec.json.decode(document), _which(name)[1]) for name, document in setup.documents.items()}
    settle, house = timedelta(seconds=setup.settle_s), setup.asked.judged.house
    terms = Terms(setup.from_at, setup.to, _packs(), _behaviour(setup.asked), settle, house)
    both = Both(Tally(), Tally())
    for rule, tally in ((_rule(setup.new, policies), both.new), (_rule(setup.old, policies), both.old)):
        for subject in subjects:
            simulate(subject, rule, terms, tally)
    return both


def result_of(setup: Setup, both: Both) -> dict[str, Any]:
    """Return what is shown of a simulation."""
    asked = setup.asked.prices
    prices = Prices(asked.currency, asked.millionths, asked.sms_parts) if asked else Prices()
    new, old = shown(both.new, prices), shown(both.old, prices)
    return {**new, "active": old, "difference": difference(new, old), "assumptions": _assumptions(setup.asked)}


def _assumptions(asked: SimulationAsked) -> list[str]:
    why = asked.judged.unknown
    return [*ASSUMPTIONS[asked.mode], *([] if why is None else [f"the tenant's settings for the gate are the defaults: {why}"])]


ASSUMPTIONS: Mapping[str, list[str]] = {
    "past": [
        "payments and other facts come as they did, whatever is sent",
        "addresses, consents, time zones and the tenant's settings are today's",
        "every lawful message goes out at once and arrives",
        "tasks stay open",
        "borrowers have no preferences",
    ],
    "forward": [
        "only the next instalment of each debt is known; later ones do not fall due",
        "what is not given does not happen: nobody pays, no stop begins, no fact changes",
        "every lawful message goes out at once",
        "caps per phone number count only the same borrower's contacts",
        "borrowers have no preferences",
    ],
}


def watch_parent() -> None:
    """Initialise a pool process: lower its priority, and end it with the process that made it, however that ends."""
    os.nice(NICE)
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(0)


async def _read(url: str, setup: Setup, portion: Portion) -> list[Subject]:
    engine = make_engine(url, application="simulation", pool_size=1)
    try:
        async with engine.connect() as conn:
            return await read(conn, setup, portion)
    finally:
        await engine.dispose()


@cache
def _packs() -> Packs:
    """Return the packs, read once per process: they are part of the release."""
    return load_packs()


def _behaviour(asked: SimulationAsked) -> Behaviour | None:
    if asked.mode == "past":
        return None
    said = asked.behaviour
    return Behaviour(
        asked.seed, said.pays_after_contact, timedelta(seconds=said.pays_within_s), said.cured_by_day, said.pays_when_due, said.arrives,
        None if said.tasks_take_s is None else timedelta(seconds=said.tasks_take_s),
    )  # fmt: skip


def _rule(chosen: Chosen, policies: Mapping[tuple[str, int], Policy]) -> Rule:
    active = {
        name: Active(policies[name, version], InFlight(in_flight), _challenger(policies, (name, version), chosen.stopped))
        for name, (version, in_flight) in chosen.active.items()
        if (name, version) in policies
    }
    assignments = tuple(Assignment(item.policy, item.fits) for item in chosen.assignments)
    return Rule(Choices(assignments, active), policies, chosen.takes_over)


def _challenger(policies: Mapping[tuple[str, int], Policy], champion: tuple[str, int], stopped: tuple[str, ...]) -> Policy | None:
    experiment = policies[champion].experiment
    return None if experiment is None or champion[0] in stopped else Rule(Choices(), policies).version(experiment.challenger)


def _which(name: str) -> tuple[str, int]:
    policy, _, version = name.rpartition("@")
    return policy, int(version)


def _in_sample(subject: Subject, asked: SimulationAsked) -> bool:
    return asked.sample >= WHOLE or draw(asked.seed, "sample", subject.borrower_id) < asked.sample


def _wanted(subject: Subject, wanted: Wanted) -> Subject | None:
    """Return a borrower with the wanted cases; None if there are none."""
    if wanted.borrowers and subject.borrower_id not in wanted.borrowers:
        return None
    if not (wanted.products or wanted.jurisdictions or wanted.currencies):
        return subject
    told: dict[int, list[Debt]] = {}
    for one in subject.told:
        told.setdefault(one.case, []).append(one.debt)
    of_loan = {one.debt.loan_id: [one.debt] for one in subject.told}
    kept = [i for i, one in enumerate(subject.cases) if _fits(one, told.get(i, of_loan.get(one.case.loan_id, [])), wanted)]
    place = {old: new for new, old in enumerate(kept)}
    facts = tuple(replace(one, case=place[one.case]) for one in subject.told if one.case in place)
    return replace(subject, cases=tuple(subject.cases[i] for i in kept), told=facts) if kept else None


def _fits(begun: Begun, told: list[Debt], wanted: Wanted) -> bool:
    if wanted.currencies and begun.case.currency not in wanted.currencies:
        return False
    return any(
        (not wanted.products or debt.product in wanted.products)
        and (not wanted.jurisdictions or not set(wanted.jurisdictions).isdisjoint(debt.jurisdictions))
        for debt in (*begun.case.debts, *told)
    )
