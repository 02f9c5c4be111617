"""Days and nights of load over many jurisdictions, then an audit of the ledger that knows nothing about how it came about."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pytest

from libs.common.lifecycle import Service
from libs.compliance import STOPS, Channel, Packs, Preferences, Prior, Profile, Role, Stop, StopKind, load_packs
from libs.compliance.packs import parse_pack
from services.notifier.service import Options
from tests.integration.notifier.afterwards import Entry, Person, Reading, faults, faults_of_second_reading, ledger
from tests.integration.notifier.world import World, a_world
from tests.support.postgres import Databases

ZONES = {
    "TT": "Asia/Shanghai", "CN": "Asia/Shanghai", "KR": "Asia/Seoul", "TH": "Asia/Bangkok", "CL": "America/Santiago",
    "CO": "America/Bogota", "US-MA": "America/New_York", "GB": "Europe/London", "AU": "Australia/Sydney",
}  # fmt: skip
SHARED = """
id: TT
name: A country where a number has an owner of its own, for these tests
version: "1"
verified: not law; an invented country
zones: []
rules:
- {id: tt-hours, kind: window, nature: law, cite: "test", evidence: product_default, channels: [any], hours: {every: "08:00-22:00"}}
- {id: tt-number, kind: cap, nature: law, cite: "test", evidence: product_default, channels: [any],
   limit: 1, unit: dial, reach: {rolling_calendar_days: 1}, scope: number}
"""
PACKS = Packs({**load_packs().by_id, "TT": parse_pack(SHARED, "TT.yaml")})
EACH = 7
"""People per place: one wants no mornings, one is sometimes called by a person, one dies, one gets notices."""
SHARING, NUMBERS = 28, 12
"""People in the place where numbers are shared, and their numbers."""
MONDAY = datetime(2026, 11, 23, 0, 10, tzinfo=UTC)
STEP = timedelta(hours=3)
STEPS = 32
"""Four days and nights."""
ASK_EVERY = 4
DUE_ON = date(2026, 11, 20)
PRINCIPAL = 12050
LEAST_EACH = 4
"""Least average number of contacts per person: enough load for the audit to mean something."""
_WHY_NOT = """
select array_agg(distinct why) from notifier.deliveries, unnest(array[split_part(told, ' ', 1), reason]) as why where why is not null
"""
QUIET = {"no_contact": [{"days": ["mon-fri"], "from": "07:00", "to": "12:00"}]}


@dataclass
class Load:
    """Everybody to be contacted, and the senders that do so side by side."""

    world: World
    senders: Sequence[Service]
    people: dict[str, Person] = field(default_factory=dict)

    async def settle(self) -> None:
        """Make everybody late, with a wish or a consent here and there."""
        for place, zone in ZONES.items():
            for number in range(SHARING if place == "TT" else EACH):
                self.people[f"{place.lower()}-{number}"] = Person((place,), zone, DUE_ON, PRINCIPAL)
        await asyncio.gather(*map(self._settle, self.people))

    async def _settle(self, name: str) -> None:
        person, number = self.people[name], name.rpartition("-")[2]
        places, order = person.places, list(self.people).index(name)
        phone = f"+86139{(order * 5) % NUMBERS:08}" if places == ("TT",) else f"+86138{order:08}"
        await self.world.profile(
            name, addresses={"sms": phone, "email": f"{name}@example.org"}, jurisdictions=places, timezone=person.zone,
        )  # fmt: skip
        await self.world.fact(
            name, jurisdictions=places, timezone=person.zone, past_due_days_from=DUE_ON, overdue=PRINCIPAL,
        )  # fmt: skip
        if number in {"0", "1", "2"}:
            await self.world.consent(name, "sms")
            self.people[name] = replace(person, consents=frozenset({Channel.SMS}))
        if number == "3":
            answer = await self.world.call("PUT", f"/v1/borrowers/{name}/preferences", json=QUIET, headers={"If-Match": '"0"'})
            assert answer.status_code == 200, answer.text
            self.people[name] = replace(person, preferences=Preferences.parse(QUIET), no_mornings=True)

    async def step(self, number: int) -> None:
        """Advance to the next time: requests, calls by people, stops, and all senders at once."""
        now = MONDAY + number * STEP
        self.world.clock.move_to(now)
        await self.world.fresh_watermarks()
        if number % ASK_EVERY == 0:
            await asyncio.gather(*(self._ask(name, number) for name in self.people))
        if number % 5 == 1:
            await asyncio.gather(*(self.world.recorded(n, f"call-{number}", at=now) for n in self.people if n.endswith("-4")))
        if number == STEPS // 2:
            await asyncio.gather(*(self._die(name, now) for name in self.people if name.endswith("-5")))
        await asyncio.gather(*(sender.pump() for sender in self.senders))

    async def _ask(self, name: str, number: int) -> None:
        channels = ("sms", "email") if number % (2 * ASK_EVERY) else ("email", "sms")
        template, purpose = ("bureau_notice", "notice") if name.endswith("-6") else ("gentle", "dunning")
        await self.world.request(
            name, f"t-{name}-{number}", channels=channels, template=template, purpose=purpose, jurisdictions=self.people[name].places,
            expires_at=self.world.clock.now() + timedelta(days=1),
        )  # fmt: skip

    async def _die(self, name: str, now: datetime) -> None:
        await self.world.status(name, "deceased")
        kind = StopKind.DECEASED
        self.people[name] = replace(self.people[name], stops=(Stop(kind, STOPS[kind].scope, now, None),))


@asynccontextmanager
async def a_load(databases: Databases, reading: Reading) -> AsyncIterator[Load]:
    """People in every place, a tenant judged by this reading and with everything allowed that the packs allow, and three senders."""
    options = Options(packs=reading.packs)
    async with a_world(databases, at=MONDAY, options=options) as world:
        settings = {"profile": reading.profile.value, "role": reading.role.value, "dunning_a_day": None}
        assert (await world.call("PUT", "/v1/settings", json=settings, headers={"If-Match": '"0"'})).status_code == 200
        load = Load(world, [world.another(options, batch=5) for _ in range(3)])
        await load.settle()
        yield load


@pytest.mark.parametrize(("profile", "role"), [(Profile.STRICT, Role.FIRST_PARTY), (Profile.LEGAL_FLOOR, Role.AGENCY)])
async def test_no_contact_of_days_of_load_is_forbidden_when_the_ledger_is_judged_again_from_outside(
    databases: Databases, profile: Profile, role: Role
) -> None:
    reading = Reading(PACKS, profile, role)
    async with a_load(databases, reading) as load:
        for number in range(STEPS):
            await load.step(number)
        entries = await ledger(load.world.engine)
        why_not = set(await load.world.scalar(_WHY_NOT))
    assert faults(entries, load.people, reading) == []
    assert faults_of_second_reading(entries, load.people, reading) == []
    made = Counter(one.borrower.rpartition("-")[0].upper() for one in entries if one.ours)
    assert made.keys() == ZONES.keys()
    assert made.total() > LEAST_EACH * len(load.people)
    assert why_not > {
        "kr-hours",
        "borrower-hours",
        "deceased",
        "tt-number",
        "th-1day",
        "co-1day",
        "kr-7in7",
        "cl-2other-week",
        "cl-2days-apart",
    }


def test_the_pass_from_outside_finds_a_contact_at_night_one_too_many_on_a_number_and_one_whose_decision_is_another() -> None:
    people = {f"tt-{number}": Person(("TT",), ZONES["TT"], DUE_ON, PRINCIPAL) for number in range(4)}
    noon, reading = datetime(2026, 11, 24, 4, 0, tzinfo=UTC), Reading(PACKS, Profile.STRICT, Role.FIRST_PARTY)
    one, later = an_entry("tt-0", noon), an_entry("tt-1", noon + STEP)
    elsewhere = replace(later, prior=Prior(noon + STEP, Channel.SMS, "", later.prior.debts, "dunwell", to="other", kind="dunning"))
    assert rules([one, elsewhere], people, reading) == []
    assert rules([one, later], people, reading) == ["tt-number"]
    assert rules([an_entry("tt-0", noon - 3 * STEP)], people, reading) == ["tt-hours"]
    other = {**(one.decision or {}), "channel": "email"}
    assert [len(faults([replace(one, decision=kept)], people, reading)) for kept in (None, other)] == [1, 1]


def test_the_second_reading_finds_what_the_gate_is_not_asked_about() -> None:
    places = {"kr-1": "KR", "co-1": "CO", "tt-1": "TT", "tt-2": "TT"}
    people = {name: Person((place,), ZONES[place], DUE_ON, PRINCIPAL, frozenset({Channel.SMS})) for name, place in places.items()}
    reading, noon = Reading(PACKS, Profile.STRICT, Role.FIRST_PARTY), datetime(2026, 11, 24, 4, 0, tzinfo=UTC)

    def found(*entries: Entry) -> list[str]:
        return [fault.rpartition(": ")[2] for fault in faults_of_second_reading(entries, people, reading)]

    week = [replace(an_entry("kr-1", noon + timedelta(hours=21 * day)), id=f"t-{day}") for day in range(8)]
    assert "KR kr-7in7" not in found(*week[:7])
    assert "KR kr-7in7" in found(*week)
    assert found(an_entry("kr-1", noon + timedelta(hours=8))) == ["KR hours"]
    people["kr-1"] = replace(people["kr-1"], no_mornings=True, stops=(Stop(StopKind.DECEASED, STOPS[StopKind.DECEASED].scope, noon, None),))
    assert found(an_entry("kr-1", noon)) == ["dead"]
    assert found(an_entry("kr-1", noon - timedelta(hours=2))) == ["no mornings"]
    bogota = an_entry("co-1", noon + timedelta(hours=10))
    assert found(bogota) == []
    people["co-1"] = replace(people["co-1"], consents=frozenset())
    assert found(bogota) == ["CO no consent"]
    assert found(an_entry("tt-1", noon), an_entry("tt-2", noon + STEP)) == ["number"]


def rules(entries: Sequence[Entry], people: Mapping[str, Person], reading: Reading) -> list[str]:
    return [fault.rpartition(" ")[2] for fault in faults(entries, people, reading)]


def an_entry(borrower: str, at: datetime) -> Entry:
    """A message of ours to the number that everybody shares."""
    loan = f"loan-{borrower}"
    prior = Prior(at, Channel.SMS, "delivered", (loan,), "dunwell", to="shared", kind="dunning")
    ends = (at + STEP).isoformat()
    decision = {"decision": "allow", "channel": "sms", "at": at.isoformat(), "window_ends": ends, "facts": {loan: [1, 1]}}
    return Entry(borrower, f"t-{borrower}/sms", prior, ours=True, decision=decision)
