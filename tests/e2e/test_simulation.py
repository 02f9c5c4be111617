"""What a simulation predicts for the next day is what the live services then do: the same planner, the same gate."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from services.scheduler.simulator import Simulator
from tests.e2e.conftest import ALL
from tests.e2e.world import MORNING, TODAY, World, one_process
from tests.support.postgres import Databases
from tests.support.wallet import Event, event

BEFORE = MORNING - timedelta(days=20)
DOCUMENT = """\
policy: trial
steps:
  - {id: soon, at: {day: -3}, send: {template: due_soon, channels: [push, sms]}}
  - {id: early, at: {day: 1, between: "06:00-09:00"}, send: {template: gentle, channels: [email, sms]}}
  - {id: next, at: {day: 3}, when: "contacts.said >= 1", send: {template: firm, channels: [sms, email]}}
  - {id: plain, at: {day_past_due: 5, between: "09:00-12:00,14:00-23:30"}, flag: slow, send: {template: final, channels: [sms]}}
  - {id: call, at: {day: 9}, task: {queue: phone, kind: call}}
"""
AFTER = {
    "sent": "done",
    "failed": "failed",
    "suppressed": "suppressed",
    "expired": "expired",
    "cancelled": "cancelled",
    "requested": "asked",
}


@dataclass(frozen=True)
class Person:
    """A borrower: where, how to be reached, what forbids contacts, and how late each loan is (days, currency)."""

    zone: str
    place: str
    reached_by: tuple[str, ...]
    agreed: tuple[str, ...]
    stop: tuple[str, int] | None
    """A status, and how many hours after the start it begins."""
    called: int | None
    loans: tuple[tuple[int, str], ...]
    agreed_in: int = -480
    """How many hours after the start the consents begin to count."""
    no_reminders_by: tuple[str, ...] = ()


people = st.builds(
    Person,
    zone=st.sampled_from(["Etc/GMT", "Asia/Shanghai", "America/New_York"]),
    place=st.sampled_from(["ZZ", "CN", "CO", "US-FED-REGF"]),
    reached_by=st.sampled_from([("sms", "email"), ("sms",), ("email",), ()]),
    agreed=st.sampled_from([("sms", "email"), ("sms", "email"), ("email",), ()]),
    stop=st.sampled_from([None, None, None, ("hardship", -400), ("opt_out", -400), ("hardship", 8), ("moratorium", 19)]),
    called=st.sampled_from([None, None, 1, 30]),
    loans=st.lists(st.tuples(st.integers(-4, 14), st.sampled_from(["CNY", "CNY", "USD"])), min_size=1, max_size=3).map(tuple),
    agreed_in=st.sampled_from([-480, -480, -480, 20, 900]),
    no_reminders_by=st.sampled_from([(), (), ("sms",)]),
)  # fmt: skip


BOTH = ("sms", "email")
TELLING = [
    Person("Etc/GMT", "CO", BOTH, (), None, None, ((1, "CNY"), (3, "CNY"))),
    Person("Etc/GMT", "CO", BOTH, ("email",), None, 1, ((3, "CNY"), (7, "USD"))),
    Person("America/New_York", "US-FED-REGF", BOTH, BOTH, None, 30, ((0, "CNY"),)),
    Person("Asia/Shanghai", "CN", ("sms",), BOTH, ("hardship", -400), None, ((6, "CNY"),)),
    Person("Asia/Shanghai", "CN", (), BOTH, None, None, ((4, "CNY"), (-2, "CNY"))),
    Person("Etc/GMT", "ZZ", BOTH, BOTH, ("opt_out", -400), None, ((6, "CNY"),)),
    Person("Etc/GMT", "ZZ", BOTH, BOTH, None, None, ((-1, "CNY"),)),
    Person("Asia/Shanghai", "ZZ", ("email",), BOTH, None, None, ((13, "USD"), (0, "CNY"))),
    Person("Etc/GMT", "CO", BOTH, BOTH, None, None, ((3, "CNY"), (0, "USD")), agreed_in=28),
    Person("Etc/GMT", "CO", BOTH, BOTH, None, None, ((-5, "CNY"),), no_reminders_by=("sms",)),
]
"""Each of them would reveal a simulated gate that is given less than the live one."""


@pytest.mark.timeout(400)
@settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)  # fmt: skip
@example(book=TELLING, hours=14, own=True)
@example(book=TELLING, hours=0, own=False)
@given(book=st.lists(people, min_size=6, max_size=14), hours=st.integers(0, 40), own=st.booleans())
async def test_the_next_day_comes_as_it_was_simulated(databases: Databases, book: list[Person], hours: int, own: bool) -> None:
    async with databases.fresh(*ALL, pool_size=16) as engine, one_process(engine) as world:
        if own:
            await activate(world)
        for n, person in enumerate(book):
            await world.publish(*told(f"B{n}", person))
        start = MORNING + timedelta(hours=hours, seconds=17)
        await world.pass_time(start)
        said = await simulated(world)
        await world.pass_time(start + timedelta(days=1))
        happened = await what_happened(world, start, start + timedelta(days=1))
        assert counted(said["active"]) == happened
        if own:
            assert counted(said) == happened
        past = await simulated(world, mode="past", days=None, **{"from": start.isoformat(), "to": (start + timedelta(days=1)).isoformat()})
        assert counted(past["active"]) == happened, "the past is replayed from what was known then"


async def activate(world: World) -> None:
    """Activate the document for every debt."""
    made = await post(world, "/scheduler/v1/policies", content=DOCUMENT, headers={"Content-Type": "application/yaml"})
    path = f"/scheduler/v1/policies/trial/versions/{made['version']}"
    await post(world, f"{path}:submit")
    await post(world, f"{path}:approve", headers={"Authorization": "Bearer dunwell-dev-2"})
    await post(world, f"{path}:activate")
    put = await world.http.put("/scheduler/v1/assignments", json={"items": [{"policy": "trial"}]}, headers={"If-Match": '"0"'})
    assert put.status_code == 200, put.text


async def simulated(world: World, **asked: Any) -> Any:
    question = {"mode": "forward", "days": 1, "document": DOCUMENT, **asked}
    made = await post(world, "/scheduler/v1/simulations", json=question)
    simulator = Simulator(world.platform.engine, world.clock, timedelta(seconds=2), 0)
    assert await simulator.run_one(asyncio.Event())
    done = await world.get(f"/scheduler/v1/simulations/{made['simulation_id']}")
    assert done["state"] == "done", done["reason"]
    assert done["result"]["in_doubt"] == done["result"]["active"]["in_doubt"] == []
    return done["result"]


async def post(world: World, path: str, **body: Any) -> Any:
    answer = await world.http.post(path, **body)
    assert answer.status_code in {200, 201, 202}, answer.text
    return answer.json()


def counted(result: Any) -> dict[str, Any]:
    """Return a simulation's result in the terms of the timelines."""
    steps = {(s["step"], word): s[word] for s in result["steps"] for word in AFTER.values() if word in s}
    tasks = {(task["queue"], task["kind"]): task["number"] for task in result["tasks"]}
    return {"steps": steps, "tasks": tasks, "channels": result["contacts"]["by_channel"], "opened": result["opened"]}


async def what_happened(world: World, start: datetime, end: datetime) -> dict[str, Any]:
    steps: Counter[tuple[str, str]] = Counter()
    tasks: Counter[tuple[str, str]] = Counter()
    opened = 0
    for case in (await world.get("/scheduler/v1/cases", limit=500))["items"]:
        for entry in (await world.get(f"/scheduler/v1/cases/{case['case_id']}/timeline", limit=500))["items"]:
            if not start < datetime.fromisoformat(entry["at"]) < end:
                continue
            kind, detail = entry["kind"], entry["detail"]
            if (kind, entry["reason"]) == ("contact.suppressed", "cancelled"):
                continue  # the notifier's word for a contact that the scheduler has withdrawn
            if (word := AFTER.get(kind.removeprefix("contact."))) is not None and kind.startswith("contact."):
                steps[detail["step"], word] += 1
            if kind == "case.task_created":
                tasks[detail["queue"], entry["reason"]] += 1
            opened += kind == "case.opened"
    messages = [m for m in await world.messages() if start < datetime.fromisoformat(m["accepted_at"]) < end]
    return {"steps": dict(steps), "tasks": dict(tasks), "channels": dict(Counter(m["channel"] for m in messages)), "opened": opened}


def told(name: str, person: Person) -> list[Event]:
    """Return the wallet's events about a borrower and their loans."""
    number = random.Random(name).randrange(10**8, 10**9)
    addresses = {"sms": f"+8613{number}", "email": f"{name}@example.org"}
    events = [
        event(
            "borrower.updated", recorded=BEFORE, borrower_id=name, name="Li Wei", locale="en", jurisdictions=[person.place],
            timezone=person.zone, addresses=[{"channel": c, "address": addresses[c]} for c in person.reached_by],
        )
    ]  # fmt: skip
    agreed_at = (MORNING + timedelta(hours=person.agreed_in)).isoformat()
    events += [
        event("borrower.consent", recorded=BEFORE, borrower_id=name, channel=c, purpose=purpose, granted=purpose == "dunning", at=agreed_at)
        for channels, purpose in ((person.agreed, "dunning"), (person.no_reminders_by, "reminder")) for c in channels
    ]  # fmt: skip
    if person.stop is not None:
        kind, begins = person.stop
        begun, until = ((MORNING + timedelta(hours=hours)).isoformat() for hours in (begins, 30))
        events.append(
            event("borrower.status", recorded=BEFORE, borrower_id=name, status_id="s", status=kind,
                  **{"from": begun, "until": until})
        )  # fmt: skip
    if person.called is not None:
        at = (MORNING - timedelta(hours=person.called)).isoformat()
        events.append(
            event("contact.recorded", recorded=BEFORE, borrower_id=name, contact_id=f"k-{name}", channel="call", at=at, by="agency",
                  result="conversation")
        )  # fmt: skip
    return events + [loan(f"{name}-{n}", name, person, days, currency) for n, (days, currency) in enumerate(person.loans)]


def loan(loan_id: str, name: str, person: Person, days: int, currency: str) -> Event:
    due_on = TODAY - timedelta(days=days)
    begun = due_on - timedelta(days=30)
    return event(
        "loan.disbursed", recorded=datetime(begun.year, begun.month, begun.day, 12, tzinfo=UTC), loan_id=loan_id, borrower_id=name,
        product="cash-loan", currency=currency, disbursed_on=begun.isoformat(), timezone=person.zone, jurisdictions=[person.place],
        schedule=[{"n": 1, "due_on": due_on.isoformat(), "principal": 12050}],
    )  # fmt: skip
