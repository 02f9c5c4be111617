"""Some borrowers in many places and what happens to them at random: told to the platform, and recorded for the audit afterwards."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import event as engine_events
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.e2e.world import MORNING, World, new_secrets, one_process
from tests.support.second_ledger_view import Answer, answer
from tests.support.wallet import Event, event

PLACES = {
    "CN": "Asia/Shanghai", "KR": "Asia/Seoul", "TH": "Asia/Bangkok", "CO": "America/Bogota", "CL": "America/Santiago",
    "US-MA": "America/New_York", "GB": "Europe/London", "AU": "Australia/Sydney", "IN": "Asia/Kolkata", "BR-SP": "America/Sao_Paulo",
}  # fmt: skip
MAILBOXES = ("reader", "reader", "reader", "unknown", "refuse", "notsent", "noreceipt")
"""The fate of a mail: the sandbox does what the address says."""
STATUSES = ("deceased", "hardship", "cease", "moratorium", "dispute")
AMOUNTS = (500, 5000, 12050)
LAST_HOURS = timedelta(hours=2)
"""Nothing new happens in them, so that everything begun is finished."""
MORTALITY = 0.15
LONGEST_LIFE = 150
"""The most statements that a process marked to die survives."""


class Death(BaseException):
    """The process is gone: nothing of it keeps running."""


@dataclass
class Mortal:
    """An engine whose process dies after a given number of statements."""

    engine: AsyncEngine
    left: int | None = None

    def __post_init__(self) -> None:
        engine_events.listen(self.engine.sync_engine, "before_cursor_execute", self._count)
        engine_events.listen(self.engine.sync_engine, "commit", self._count)

    @property
    def is_dead(self) -> bool:
        return self.left is not None and self.left < 0

    def _count(self, *_: object) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Death

    def survive(self) -> None:
        """Continue without having to die; part of it may be dead already."""
        if self.is_dead:
            raise Death
        self.left = None

    def revive(self) -> None:
        """Let another process start from what this one has committed."""
        self.left = None


@dataclass(frozen=True)
class Told:
    """Something told to the platform, and when it was acknowledged."""

    at: datetime
    what: Event


@dataclass
class Loan:
    """A loan and everything told about it."""

    loan_id: str
    zone: str
    line: Event
    told: list[Told] = field(default_factory=list)

    def state(self, at: datetime, *, known: datetime) -> Answer:
        """Return the state by the second implementation of the ledger, from what was known, on the loan's local day."""
        events = [one.what for one in self.told if one.at <= known]
        found = answer(events, self.line, at.astimezone(ZoneInfo(self.zone)).date())
        return found or {"overdue": {"total": 0}, "outstanding": {"total": 0}, "status": "unknown", "anchor": None}

    def events(self, kind: str, *, known: datetime) -> list[Event]:
        """Return what was told of this kind by then."""
        return [one.what for one in self.told if one.at <= known and one.what["type"] == f"wallet.{kind}.v1"]


@dataclass
class Person:
    """A borrower: where, which loans, and everything told about them."""

    borrower_id: str
    place: str
    loans: list[Loan] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    calls: list[tuple[datetime, str]] = field(default_factory=list)

    def newest(self, kind: str, key: str, *, known: datetime) -> dict[str, Event]:
        """Return the newest of what was told of this kind by then, by subject."""
        found = [one.what for one in self.told if one.at <= known and one.what["type"] == f"wallet.borrower.{kind}.v1"]
        return {one["data"][key]: one["data"] for one in sorted(found, key=lambda one: str(one["time"]))}

    def profile(self, *, known: datetime) -> Event:
        """Return the profile as it was known then."""
        return self.newest("updated", "borrower_id", known=known)[self.borrower_id]


Happening = Callable[["Life", World, Person], Awaitable[None]]


@dataclass
class Life:
    """What happens to some people over some days, at random."""

    dice: random.Random
    days: int
    now: datetime = MORNING
    people: list[Person] = field(default_factory=list)
    agenda: list[tuple[datetime, Happening, Person]] = field(default_factory=list)

    @property
    def loans(self) -> list[Loan]:
        return [loan for person in self.people for loan in person.loans]

    async def begin(self, world: World, number: int) -> None:
        """Give so many borrowers loans, some of them late, and arrange what will happen to them."""
        line = await world.get("/ingest/v1/products/cash-loan")
        for n, place in enumerate(self.dice.sample(sorted(PLACES), number)):
            person = Person(f"B{n}", place)
            self.people.append(person)
            await self._tell_of(world, person, self.profile_of(person), *self._consents(person))
            for m in range(self.dice.choice((1, 1, 2))):
                loan = Loan(f"L{n}-{m}", PLACES[place], line)
                person.loans.append(loan)
                await self._tell(world, loan, self._disbursed(person, loan))
        moments = sorted(MORNING + timedelta(days=self.days) * self.dice.random() for _ in range(4 * number))
        self.agenda = [(moment, self.dice.choice(HAPPENINGS), self.dice.choice(self.people)) for moment in moments]

    async def live(self, world: World, number: int, mortal: Mortal) -> None:
        """Continue moment by moment; in between the process may die, and nothing acknowledged is lost."""
        if not self.people:
            await self.begin(world, number)
        while self.agenda:
            moment, happening, person = self.agenda[0]
            if self.dice.random() < MORTALITY:
                mortal.left = self.dice.randrange(LONGEST_LIFE)
            await self.reach(world, moment)
            mortal.survive()
            self.agenda.pop(0)
            await happening(self, world, person)
        await self.reach(world, MORNING + timedelta(days=self.days) + LAST_HOURS)

    async def reach(self, world: World, moment: datetime) -> None:
        """Let time pass, mostly in long steps: nothing looks at every second."""
        await world.quiet()
        while self.now < moment:
            due = await world.platform.next_due() or moment
            self.now = min(moment, max(due, self.now + timedelta(seconds=self.dice.choice((1, 60, 900)))))
            world.clock.move_to(self.now)
            await world.quiet()

    async def _tell(self, world: World, loan: Loan, *events: Event) -> None:
        await world.publish(*events, *self.dice.sample(events, self.dice.choice((0, 0, 1))))
        loan.told += [Told(self.now, one) for one in events]

    async def _tell_of(self, world: World, person: Person, *events: Event) -> None:
        await world.publish(*events)
        person.told += [Told(self.now, one) for one in events]

    def profile_of(self, person: Person) -> Event:
        number, box = random.Random(person.borrower_id).randrange(10**8, 10**9), self.dice.choice(MAILBOXES)
        addresses = [{"channel": "email", "address": f"{box}+{person.borrower_id}@example.org"}]
        if self.dice.random() < 0.7:
            addresses.append({"channel": "sms", "address": f"+8613{number}"})
        return event(
            "borrower.updated", recorded=self.now, borrower_id=person.borrower_id, locale="en", timezone=PLACES[person.place],
            jurisdictions=[person.place], addresses=addresses,
        )  # fmt: skip

    def _consents(self, person: Person) -> list[Event]:
        return [self._consent(person, channel, granted=True) for channel in ("sms", "email") if self.dice.random() < 0.9]

    def _consent(self, person: Person, channel: str, *, granted: bool) -> Event:
        at = self.now.isoformat()
        who = {"borrower_id": person.borrower_id, "channel": channel, "purpose": "dunning"}
        return event("borrower.consent", recorded=self.now, **who, granted=granted, at=at)

    def _disbursed(self, person: Person, loan: Loan) -> Event:
        first, begun = self._day(loan, self.dice.randint(-7, 2)), self._day(loan, -40)
        rows = [{"n": n, "due_on": str(first + n * timedelta(days=4)), "principal": self.dice.choice(AMOUNTS)} for n in range(1, 4)]
        return event(
            "loan.disbursed", recorded=self.now - timedelta(days=40), loan_id=loan.loan_id, borrower_id=person.borrower_id,
            product="cash-loan", currency="CNY", disbursed_on=str(begun), timezone=loan.zone, jurisdictions=[person.place], schedule=rows,
        )  # fmt: skip

    def _day(self, loan: Loan, days: int = 0) -> date:
        return self.now.astimezone(ZoneInfo(loan.zone)).date() + timedelta(days=days)

    def _late(self, loan: Loan) -> int:
        return int(loan.state(self.now, known=self.now)["overdue"]["total"])

    # What happens to loans

    async def pays(self, world: World, person: Person) -> None:
        """Pay something, now or earlier but only known now."""
        loan = self.dice.choice(person.loans)
        amount = self.dice.choice((self._late(loan), self._late(loan), 700)) or 700
        paid_at = self.now - timedelta(days=self.dice.choice((0, 0, 0, 2, 6)))
        name = f"r{len(loan.told)}"
        paid = event(
            "repayment.received", recorded=self.now, loan_id=loan.loan_id, repayment_id=name, amount=amount, paid_at=paid_at.isoformat()
        )
        await self._tell(world, loan, paid)

    async def takes_back(self, world: World, person: Person) -> None:
        """Retract the last payment, or have it returned."""
        loan = self.dice.choice(person.loans)
        for paid in loan.events("repayment.received", known=self.now)[-1:]:
            of: Event = {"recorded": self.now, "loan_id": loan.loan_id, "repayment_id": paid["data"]["repayment_id"]}
            returned: Event = {"chargeback_id": f"c{len(loan.told)}", "amount": paid["data"]["amount"], "at": self.now.isoformat()}
            retracted = event("event.retracted", recorded=self.now, loan_id=loan.loan_id)
            retracted["data"]["event_id"] = paid["id"]
            ends = (event("repayment.reversed", **of), event("repayment.charged_back", **of, **returned), retracted)
            await self._tell(world, loan, self.dice.choice(ends))

    async def debits(self, world: World, person: Person) -> None:
        """Start a direct debit that is never heard of again."""
        loan, until = self.dice.choice(person.loans), self.now + timedelta(days=2 * self.dice.random())
        data: Event = {"loan_id": loan.loan_id, "repayment_id": f"p{len(loan.told)}", "amount": 100, "until": until.isoformat()}
        await self._tell(world, loan, event("repayment.pending", recorded=self.now, **data))

    async def agrees_anew(self, world: World, person: Person) -> None:
        """Get another schedule."""
        loan = self.dice.choice(person.loans)
        rows = [{"n": 1, "due_on": str(self._day(loan, self.dice.randint(-2, 3))), "principal": self.dice.choice(AMOUNTS)}]
        data: Event = {"version": len(loan.told) + 1, "schedule": rows, "effect": self.dice.choice(("from_start", "from_date"))}
        await self._tell(world, loan, event("loan.rescheduled", recorded=self.now, loan_id=loan.loan_id, **data))

    # What happens to people

    async def falls_under_a_stop(self, world: World, person: Person) -> None:
        """Become somebody who must not be contacted for a time."""
        until = self.now + timedelta(days=4 * self.dice.random())
        data = {"status_id": f"s{self.dice.randint(1, 2)}", "status": self.dice.choice(STATUSES), "from": self.now.isoformat()}
        status = event("borrower.status", recorded=self.now, borrower_id=person.borrower_id, until=until.isoformat(), **data)
        await self._tell_of(world, person, status)

    async def changes_mind(self, world: World, person: Person) -> None:
        """Withdraw a consent, or give it."""
        channel = self.dice.choice(("sms", "email"))
        await self._tell_of(world, person, self._consent(person, channel, granted=self.dice.random() < 0.5))

    async def moves(self, world: World, person: Person) -> None:
        """Live in another place from now on."""
        person.place = self.dice.choice(sorted(PLACES))
        await self._tell_of(world, person, self.profile_of(person))

    async def is_called(self, world: World, person: Person) -> None:
        """Have a call from another system."""
        data = {"contact_id": f"k{len(person.calls)}-{person.borrower_id}", "channel": "call", "result": "conversation", "by": "desk"}
        await self._tell_of(
            world, person, event("contact.recorded", recorded=self.now, borrower_id=person.borrower_id, at=self.now.isoformat(), **data)
        )
        person.calls.append((self.now, "conversation"))

    # What people do about cases

    async def is_promised_rest(self, world: World, person: Person) -> None:
        """Promise, dispute, or be given a rest by a person."""
        found = (await world.get("/scheduler/v1/cases", borrower_id=person.borrower_id, state="open"))["items"]
        late = sum(self._late(loan) for loan in person.loans)
        if not found or not late:
            return
        until = (self.now + timedelta(days=3 * self.dice.random())).isoformat()
        what, body = self.dice.choice(
            (
                ("promises", {"amount": late, "due_on": str(self._day(person.loans[0], 1))}),
                ("disputes", {"loan_id": person.loans[-1].loan_id}),
                ("holds", {"stop": "manual", "until": until}),
                ("holds", {"stop": "hardship", "pause": True, "end": {"event": "debt.cured"}}),
            )
        )
        asked = await world.http.post(f"/scheduler/v1/cases/{found[0]['case_id']}/{what}", json=body)
        assert asked.status_code in {201, 409, 422}, asked.text


HAPPENINGS: Sequence[Happening] = (
    *[Life.pays] * 5, *[Life.takes_back] * 3, Life.debits, *[Life.agrees_anew] * 2, *[Life.falls_under_a_stop] * 2, Life.changes_mind,
    Life.moves, *[Life.is_called] * 2, *[Life.is_promised_rest] * 3,
)  # fmt: skip
"""What may happen to somebody; repeated entries are more likely."""


@asynccontextmanager
async def lived(engine: AsyncEngine, seed: int, *, people: int, days: int) -> AsyncIterator[tuple[Life, World]]:
    """A life that was lived, and its platform; a process that died on the way was replaced by another."""
    life, secrets, mortal = Life(random.Random(seed), days), new_secrets(), Mortal(engine)
    while True:
        try:
            async with one_process(engine, start=life.now, secrets=secrets) as world:
                await life.live(world, people, mortal)
                yield life, world
                return
        except BaseException:
            if not mortal.is_dead:
                raise
            mortal.revive()
