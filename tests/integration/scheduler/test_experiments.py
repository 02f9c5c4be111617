"""Champion and challenger at work: who goes to which, when the experiment ends, and how they compare."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import text

from services.scheduler.domain.chain import BEGINNING, Link, broken_at
from services.scheduler.domain.trials import Arm, Experiment
from services.scheduler.store import policies
from tests.integration.scheduler.policy_world import DOCUMENT, Office
from tests.integration.scheduler.simulating import introduce, simulated
from tests.integration.scheduler.world import TODAY, ZONE, World, due_soon, late, paid

SALT = "2026q4"
CHALLENGER = DOCUMENT.replace("gentle-ones", "softer").replace("id: hello", "id: soft-hello").replace("day: 7", "day: 9")
TRIED = f'{DOCUMENT}experiment: {{challenger: "softer@1", share: 50, salt: "{SALT}", stop_when: {{complaint_rate: 20, at_least: 3}}}}\n'
PEOPLE = [f"B{n}" for n in range(12)]
CHALLENGED = [who for who in PEOPLE if Experiment(("softer", 1), 50, SALT).arm_of(who) is Arm.CHALLENGER]
OTHERS = [who for who in PEOPLE if who not in CHALLENGED]


async def begun(world: World, people: list[str] = PEOPLE) -> Office:
    """A running experiment, with an overdue debt of each of these borrowers."""
    office = Office(world)
    await office.activated(CHALLENGER)
    await office.activated(TRIED)
    await office.assign({"policy": "gentle-ones"})
    await world.tell(*(late(f"L-{who}", who, total=1000) for who in people))
    await world.settle()
    return office


async def under(world: World, people: list[str]) -> set[tuple[str, int]]:
    found = [(await world.case(who))["policy"] for who in people]
    return {(policy["name"], policy["version"]) for policy in found}


def asked_of(world: World, who: str) -> list[Any]:
    return [task for task in world.of("contact.requested") if task.borrower_id == who]


async def test_a_share_of_the_spells_begins_under_the_challenger_and_stays_there(world: World) -> None:
    office = await begun(world)
    assert min(len(CHALLENGED), len(OTHERS)) >= 3
    assert await under(world, CHALLENGED) == {("softer", 1)}
    assert await under(world, OTHERS) == {("gentle-ones", 1)}
    assert {task.step for who in CHALLENGED for task in asked_of(world, who)} == {"soft-hello"}
    await office.activated(CHALLENGER, in_flight="restart")
    await office.activated(TRIED.replace(SALT, "another"), in_flight="restart")
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1)
    await world.local(1, 10, 30)
    assert await under(world, CHALLENGED) == {("softer", 1)}, "its spells are compared as they began"
    assert await under(world, OTHERS) == {("gentle-ones", 2)}
    opened = [entry for entry in await world.story(CHALLENGED[0]) if entry["kind"] == "case.opened"]
    assert [entry["detail"] for entry in opened] == [
        {"arm": "challenger", "experiment": "gentle-ones@1", "policy": {"name": "softer", "version": 1}, "spell": 1}
    ]


async def test_when_too_many_complain_no_new_spell_goes_to_the_challenger_and_the_chain_says_why(world: World) -> None:
    first, later = CHALLENGED[:3], CHALLENGED[3]
    await begun(world, [*first, *OTHERS])
    await world.outcome(asked_of(world, first[0])[0], "complained", 1)
    await world.settle()
    await world.scheduler.pump()
    await world.tell(late(f"L-{later}", later))
    await world.settle()
    assert await under(world, first) == {("softer", 1)}
    assert await under(world, [later]) == {("gentle-ones", 1)}
    async with world.engine.connect() as conn:
        chain = await policies.links(conn, "default", "gentle-ones")
    last = chain[-1]
    assert (last.action, last.by, last.version) == ("experiment_stopped", "guardrail", 1)
    said = (await world.get("/policies/gentle-ones/history"))["items"][-1]
    assert said["detail"] == {"guardrail": "complaint_rate", "limit": 20.0, "rate": 33.3333, "cases": 3, "number": 1}
    assert whole(chain)


async def test_complaints_of_too_few_or_of_the_champions_spells_stop_nothing(world: World) -> None:
    two, third = CHALLENGED[:2], CHALLENGED[2]
    await begun(world, [*two, *OTHERS])
    await world.outcome(asked_of(world, two[0])[0], "complained", 1)
    await world.scheduler.pump()
    assert await world.rows("select * from scheduler.experiments where stopped_at is not null") == [], "two are too few"
    async with world.engine.begin() as conn:
        await conn.execute(text("delete from scheduler.timeline where kind in ('contact.complained', 'case.complaint_opened')"))
    await world.tell(late(f"L-{third}", third))
    await world.settle()
    for who in OTHERS:
        await world.outcome(asked_of(world, who)[0], "complained", 1)
    await world.scheduler.pump()
    assert await world.rows("select * from scheduler.experiments where stopped_at is not null") == [], "the champion's do not count"
    await world.outcome(asked_of(world, third)[0], "complained", 1)
    await world.scheduler.pump()
    assert [row.guardrail for row in await world.rows("select guardrail from scheduler.experiments")] == ["complaint_rate"]


async def test_both_arms_are_compared_as_was_known_at_the_end_of_the_span(world: World) -> None:
    await begun(world, [*CHALLENGED[:2], *OTHERS[:3]])
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1)
    await world.outcome(asked_of(world, OTHERS[0])[0], "complained", 2)
    await world.stop("opt_out", borrower_id=CHALLENGED[0], status_id="s9")
    await world.local(0, 20)
    await world.tell(paid(f"L-{CHALLENGED[0]}", CHALLENGED[0]), late(f"L-{OTHERS[0]}", OTHERS[0], total=400, version=2))
    await world.local(1, 9)
    asked = {"from": TODAY.isoformat(), "to": TODAY.isoformat(), "timezone": ZONE, "within_days": 1}
    assert (await world.get("/reports/experiments", **asked))["items"][0]["observed"] == 0
    await world.local(2, 9)
    await world.tell(paid(f"L-{OTHERS[2]}", OTHERS[2]))
    await world.local(3, 9)
    until = {**asked, "to": (TODAY + timedelta(days=2)).isoformat()}
    before = (await world.get("/reports/experiments", **until))["items"]
    same = {
        "policy": "gentle-ones",
        "policy_version": 1,
        "challenger": "softer@1",
        "currency": "CNY",
        "stopped_at": None,
        "guardrail": None,
    }
    assert before == [
        {**same, "arm": "challenger", "cases": 2, "messages": 2, "observed": 2, "cured": 1, "cure_rate": 0.5, "paid_amount": 1000,
         "complaints": 0, "opt_outs": 1},
        {**same, "arm": "champion", "cases": 3, "messages": 3, "observed": 3, "cured": 0, "cure_rate": 0.0, "paid_amount": 600,
         "complaints": 1, "opt_outs": 0},
    ]  # fmt: skip
    await world.tell(paid(f"L-{OTHERS[1]}", OTHERS[1], as_of=TODAY))
    await world.outcome(asked_of(world, CHALLENGED[1])[0], "complained", 2)
    await world.scheduler.pump()
    await world.local(5, 9)
    assert (await world.get("/reports/experiments", **until))["items"] == before


async def test_an_experiment_begins_only_with_an_approved_challenger_that_is_then_kept(world: World) -> None:
    office = Office(world)
    await office.hire("dw_other", "ola")
    refused = await activate(office, TRIED)
    assert (refused.status_code, refused.json()["code"]) == (409, "challenger_not_ready")
    await office.activated(CHALLENGER)
    await office.activated(CHALLENGER)
    for unfit in (TRIED.replace("softer@1", "gentle-ones@2"), TRIED.replace("steps:", "applies_to: {products: [x]}\nsteps:", 1)):
        done = await activate(office, unfit)
        assert done.status_code == (409 if "gentle-ones@2" in unfit else 200), done.text
    kept = await office.ask("POST", "/policies/softer/versions/1:retire")
    assert (kept.status_code, kept.json()["code"]) == (409, "in_use")


async def test_a_simulation_deals_as_the_scheduler_would(world: World) -> None:
    await begun(world, [])
    for who in PEOPLE:
        await introduce(world, who)
    await world.tell(*(due_soon(f"L-{who}", who, in_days=1) for who in PEOPLE))
    await world.settle()
    result = await simulated(world, policy="gentle-ones", version=1, days=4)
    assert result["state"] == "done", result["reason"]
    done = {step["step"]: step["asked"] for step in result["result"]["steps"]}
    assert done == {"soft-hello": len(CHALLENGED), "hello": len(OTHERS)}


async def activate(office: Office, text: str) -> Any:
    made = (await office.draft(text)).json()
    path = f"/policies/{made['policy']}/versions/{made['version']}"
    for verb, key in (("submit", None), ("approve", "dw_other")):
        assert (await office.ask("POST", f"{path}:{verb}", key=key)).status_code == 200
    return await office.ask("POST", f"{path}:activate", json={})


def whole(chain: list[Link]) -> bool:
    assert chain[0].previous == BEGINNING
    return broken_at(chain, last=(len(chain), chain[-1].hash)) is None
