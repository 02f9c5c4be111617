"""An independent audit of what was sent: from the sandbox's record, the ledgers' answers and the wording of the contract.

It has its own rules: what is owed comes from a second implementation of the ledger, what is lawful from a second reading of the notes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text

from tests.e2e.life import Life, Loan, Person
from tests.e2e.world import World
from tests.support.second_reading import forbids

OUT = {"sent": {"done"}, "delivered": {"done"}, "unknown": {"unknown"}, "unresolved": {"unresolved"}}
"""The states of a delivery for which the sandbox has a message, with the scheduler's names for them."""
NOT_OUT = {
    "failed": {"failed"}, "expired": {"expired"}, "suppressed": {"suppressed", "cancelled"}, "cancelled": {"suppressed", "cancelled"},
    "pending": {"requested", "deferred"}, "unknown": {"unknown"}, "unresolved": {"unresolved"},
}  # fmt: skip
"""The same for one without a message; a process that dies between its mark and its call leaves an unknown outcome."""
_STEPS = "select task_id, case_id, spell, step, state from scheduler.case_steps"
_FACTS = "select loan_id, epoch, version, as_of from {}"
_LEFT = "select count(*) from {}.outbox"


@dataclass(frozen=True)
class Sent:
    """A message as the sandbox kept it, with the debts it named according to the notifier."""

    at: datetime
    task_id: str
    borrower_id: str
    channel: str
    body: str
    loans: tuple[str, ...]

    @classmethod
    def of(cls, kept: Mapping[str, Any], named: Mapping[str, Sequence[str]]) -> Sent:
        loans = tuple(named[f"{kept['task_id']}/{kept['channel']}"])
        return cls(datetime.fromisoformat(kept["accepted_at"]), kept["task_id"], kept["borrower_id"], kept["channel"], kept["body"], loans)


@dataclass(frozen=True)
class Step:
    """A step of a case for which a message was requested, and what the scheduler knows about it."""

    case_id: str
    spell: int
    step: str
    state: str


@dataclass(frozen=True)
class Evidence:
    """Everything that can be seen afterwards."""

    life: Life
    sent: Sequence[Sent]
    deliveries: Mapping[str, Mapping[str, Any]]
    steps: Mapping[str, Step]
    holds: Mapping[str, Sequence[Mapping[str, Any]]]
    """By borrower."""


async def collected(life: Life, world: World) -> Evidence:
    """Collect what the services know and what the sandbox received."""
    named, holds = dict[str, Sequence[str]](), defaultdict[str, list[Any]](list)
    for person in life.people:
        contacts = (await world.get(f"/notifier/v1/borrowers/{person.borrower_id}/contacts"))["items"]
        named |= {one["contact_id"]: one["loans"] for one in contacts}
        cases = (await world.get("/scheduler/v1/cases", borrower_id=person.borrower_id))["items"]
        for case in cases:
            holds[person.borrower_id] += (await world.get(f"/scheduler/v1/cases/{case['case_id']}/holds"))["items"]
    sent = [Sent.of(one, named) for one in await world.messages()]
    deliveries = (await world.get("/notifier/v1/deliveries", limit=1000))["items"]
    steps = {row[0]: Step(*row[1:]) for row in await rows(world, _STEPS)}
    return Evidence(life, sent, {one["task_id"]: one for one in deliveries}, steps, holds)


async def rows(world: World, statement: str) -> Sequence[Any]:
    """Return the rows of a statement."""
    async with world.platform.engine.connect() as conn:
        return (await conn.execute(text(statement))).all()


def faults(seen: Evidence) -> list[str]:
    """Return what is wrong with what was sent."""
    found = [*_twice(seen), *_fates(seen)]
    for one in seen.sent:
        person = next(person for person in seen.life.people if person.borrower_id == one.borrower_id)
        loans = [loan for loan in person.loans if loan.loan_id in one.loans]
        spoken = [*_sums(one, loans), *_rests(one, loans), *_stops(one, person, seen), *_unlawful(one, person, seen)]
        found += [f"{one.task_id} by {one.channel} at {one.at:%m-%d %H:%M}: {why}" for why in spoken]
    return found


def _twice(seen: Evidence) -> Iterator[str]:
    """Yield what was sent more than once: on a channel, for a step in a spell, or on a day."""
    yield from (f"{task} twice by {on}" for (task, on), n in Counter((one.task_id, one.channel) for one in seen.sent).items() if n > 1)
    said, days = defaultdict[tuple[Any, ...], set[str]](set), defaultdict[tuple[Any, ...], set[str]](set)
    for one in seen.sent:
        step, zone = seen.steps[one.task_id], _zone(one, seen)
        said[step.case_id, step.spell, step.step].add(one.task_id)
        days[one.borrower_id, one.at.astimezone(ZoneInfo(zone)).date()].add(one.task_id)
    yield from (f"{what} more than once" for what, tasks in [*said.items(), *days.items()] if len(tasks) > 1)


def _fates(seen: Evidence) -> Iterator[str]:
    """Yield deliveries on which the notifier disagrees with the sandbox or the scheduler."""
    out = {one.task_id for one in seen.sent}
    for task, delivery in seen.deliveries.items():
        state, step = delivery["state"], seen.steps[task].state
        if step not in (OUT if task in out else NOT_OUT).get(state, ()):
            yield f"{task} is {state} for the notifier and {step} for the scheduler; {'out' if task in out else 'not out'}"
    yield from (f"{task} never reached the notifier" for task in seen.steps.keys() - seen.deliveries.keys())


def _sums(one: Sent, loans: Sequence[Loan]) -> Iterator[str]:
    """Yield debts that were named although not owed at that moment, and a sum that differs from what is owed."""
    owed = {loan.loan_id: int(loan.state(one.at, known=one.at)["overdue"]["total"]) for loan in loans}
    yield from (f"{loan} is not owed" for loan, amount in owed.items() if not amount)
    total = sum(owed.values())
    if f"{total // 100:,}.{total % 100:02}" not in one.body:
        yield f"{owed} is owed, and this is said: {one.body}"


def _rests(one: Sent, loans: Sequence[Loan]) -> Iterator[str]:
    for loan in loans:
        for debit in loan.events("repayment.pending", known=one.at):
            if one.at < datetime.fromisoformat(debit["data"]["until"]):
                yield f"a debit of {loan.loan_id} is under way"


def _stops(one: Sent, person: Person, seen: Evidence) -> Iterator[str]:
    for status in person.newest("status", "status_id", known=one.at).values():
        if _lies_on(one.at, status):
            yield str(status["status"])
    for hold in seen.holds[one.borrower_id]:
        ended = hold["ended_at"] is not None and datetime.fromisoformat(hold["ended_at"]) <= one.at
        concerned = hold["loan_id"] is None or hold["loan_id"] in one.loans
        if concerned and not ended and datetime.fromisoformat(hold["set_at"]) <= one.at and _lies_on(one.at, hold):
            yield f"a hold: {hold['stop']}"


def _lies_on(at: datetime, stop: Mapping[str, Any]) -> bool:
    return datetime.fromisoformat(stop["from"]) <= at and (stop["until"] is None or at < datetime.fromisoformat(stop["until"]))


def _unlawful(one: Sent, person: Person, seen: Evidence) -> Iterator[str]:
    """Yield the rules of the borrower's and the loans' places that forbid it, given all earlier messages to the borrower."""
    profile = person.profile(known=one.at)
    places = {*profile["jurisdictions"], *(place for loan in person.loans for place in _places(loan))}
    consents = {channel for channel, given in person.newest("consent", "channel", known=one.at).items() if given["granted"]}
    for loan in one.loans:
        before = [_prior(other.at, other.channel, "delivered", loan) for other in seen.sent if _is_before(other, one)]
        before += [_prior(at, "call", result, loan) for at, result in person.calls if at <= one.at]
        question = {
            "jurisdictions": sorted(places), "timezones": [profile["timezone"]], "profile": "strict", "consents": consents, "prior": before,
            "proposed": {"channel": one.channel, "purpose": "dunning", "debt": loan, "to": None},
        }  # fmt: skip
        yield from forbids(question, one.at)


def _is_before(other: Sent, one: Sent) -> bool:
    return other.borrower_id == one.borrower_id and (other.at, other.task_id) < (one.at, one.task_id)


def _prior(at: datetime, channel: str, result: str, debt: str) -> dict[str, Any]:
    return {
        "at": at.isoformat(), "channel": channel, "result": result, "debt": debt, "by": "lender", "to": None, "direction": "outbound",
        "kind": None,
    }  # fmt: skip


def _places(loan: Loan) -> Sequence[str]:
    return [place for one in loan.told if one.what["type"] == "wallet.loan.disbursed.v1" for place in one.what["data"]["jurisdictions"]]


def _zone(one: Sent, seen: Evidence) -> str:
    person = next(person for person in seen.life.people if person.borrower_id == one.borrower_id)
    return str(person.profile(known=one.at)["timezone"])


async def unrest(life: Life, world: World) -> list[str]:
    """Return what has not settled although all is done, what is forgotten, and what two services know differently."""
    coverage = await world.get("/scheduler/v1/coverage", whole="true")
    found = [f"forgotten: {one}" for one in coverage["items"]]
    for service in ("ingest", "scheduler", "notifier"):
        found += [f"{row[0]} messages of {service} are not said" for row in await rows(world, _LEFT.format(service)) if row[0]]
    scheduled, notified = [{tuple(row) for row in await rows(world, _FACTS.format(at))} for at in ("scheduler.debts", "notifier.facts")]
    found += [f"a fact that one service alone has: {fact}" for fact in scheduled ^ notified]
    said = {fact[0] for fact in notified}
    for loan in life.loans:
        wanted, got = loan.state(life.now, known=life.now), await world.get(f"/ingest/v1/loans/{loan.loan_id}")
        found += [
            f"{loan.loan_id}: {got[name]}, not {wanted[name]}" for name in ("overdue", "outstanding", "status") if got[name] != wanted[name]
        ]
        fact = world.facts.get(loan.loan_id)
        if wanted["overdue"]["total"] and loan.loan_id not in said:
            found.append(f"{loan.loan_id} is late, and nothing was said of it")
        if fact is not None and fact.overdue.total != wanted["overdue"]["total"]:
            found.append(f"{loan.loan_id}: {fact.overdue.total} is said, {wanted['overdue']['total']} is owed")
    return found
