"""A borrower's life under a policy, without a database."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.value import replace
from libs.compliance import load_packs
from libs.compliance.house import House
from services.scheduler.domain.behaviour import WHOLE, Behaviour
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import Debt
from services.scheduler.domain.choosing import Active, Assignment, Choices, InFlight
from services.scheduler.domain.lawful import AS_NOTHING_IS_SET, Address, Reach
from services.scheduler.domain.policy import AppliesTo, Policy, Send, Step, Work
from services.scheduler.domain.simulating import simulate
from services.scheduler.domain.stops import Stop
from services.scheduler.domain.subjects import Begun, Rule, Subject, Terms
from services.scheduler.domain.tally import Prices, Tally, difference, hash_of, shown
from services.scheduler.policies.conditions import condition
from tests.unit.scheduler.build import DUE, case, coming, debt, local

PACKS = load_packs()
FREE = Prices()
BOTH = {("sms", "dunning"): None, ("email", "dunning"): None}
REACH = Reach(True, None, (), (Address("sms", "s1"), Address("email", "e1")), BOTH)
POLICY = Policy(
    "own", 1,
    (
        Step("one", 1, Send("gentle", ("sms", "email")), "10:00-11:30"),
        Step("two", 4, Send("firm", ("email", "sms"), fallback_after=timedelta(hours=4)), "10:00-11:30"),
        Step("call", 9, Work("phone", "call", within=timedelta(days=1), again_after=timedelta(days=5))),
    ),
    timedelta(days=7),
)  # fmt: skip
OWN = Rule(Choices((Assignment("own", AppliesTo()),), {"own": Active(POLICY, InFlight.PIN)}), {("own", 1): POLICY})
START = local(0, 12)


def subject(*debts: Debt, who: str = "B1", reach: Reach = REACH, stops: tuple[Stop, ...] = ()) -> Subject:
    made = replace(case(*debts, stops=stops), borrower_id=who, case_id=f"c-{who}")
    return Subject("default", who, (Begun(made, (BUILT_IN.name, BUILT_IN.version)),), reach)


def played(
    *subjects: Subject,
    days: int = 30,
    rule: Rule = OWN,
    behaviour: Behaviour | None = None,
    start: datetime = START,
    house: House = AS_NOTHING_IS_SET,
) -> Any:
    tally = Tally()
    for one in subjects:
        simulate(one, rule, Terms(start, start + timedelta(days=days), PACKS, behaviour or Behaviour(), house=house), tally)
    result = shown(tally, FREE)
    assert result["in_doubt"] == []
    return result


def steps(result: Any) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in result["steps"]}


def test_a_message_that_does_not_arrive_goes_to_its_next_channel_and_then_to_a_person() -> None:
    lost = Behaviour(arrives={"email": 0})
    result = played(subject(debt()), behaviour=lost)
    assert steps(result)["two"]["by_channel"] == {"email": 1, "sms": 1}
    lost = Behaviour(arrives={"email": 0, "sms": 0})
    result = played(subject(debt()), days=6, behaviour=lost)
    assert (steps(result)["one"]["failed_by"], steps(result)["two"]["failed_by"]) == ({"undelivered": 1}, {"undelivered": 1})
    assert result["tasks"] == [{"queue": "review", "kind": "contact_failed", "number": 2}]
    assert result["never_reached"] == {"number": 1, "reasons": {"undelivered": 1}}


def test_a_borrower_without_an_address_or_a_profile_becomes_work_for_a_person() -> None:
    nowhere = played(subject(debt(), reach=dataclasses.replace(REACH, addresses=())), days=3)
    assert (steps(nowhere)["one"]["failed_by"], nowhere["tasks"][0]["kind"]) == ({"no_address": 1}, "contact_failed")
    unknown = played(subject(debt(), reach=Reach()), days=3)
    assert (unknown["tasks"][0]["kind"], unknown["never_reached"]["reasons"]) == ("no_profile", {"profile_unknown": 1})


@pytest.mark.parametrize(
    ("a_day", "days"), [(1, [("2026-11-02", 1), ("2026-11-03", 1)]), (2, [("2026-11-02", 2)]), (None, [("2026-11-02", 2)])]
)
def test_a_borrower_with_two_cases_is_sent_as_many_dunning_messages_a_day_as_the_tenant_has_set(
    a_day: int | None, days: list[tuple[str, int]]
) -> None:
    two = [replace(case(debt(f"L-{currency}")), case_id=f"c-{currency}", currency=currency) for currency in ("CNY", "USD")]
    begun = tuple(Begun(one, (BUILT_IN.name, BUILT_IN.version)) for one in two)
    result = played(Subject("default", "B1", begun, REACH), days=3, house=House(dunning_a_day=a_day))
    assert [(day["on"], day["number"]) for day in result["contacts"]["days"]] == days
    assert ("one-dunning-message-a-day" in {refusal["rule"] for refusal in result["refusals"]}) is (a_day == 1)


def test_who_pays_after_a_contact_is_cured_and_hears_no_more() -> None:
    result = played(subject(debt()), behaviour=Behaviour(pays_after_contact=WHOLE, pays_within=timedelta(days=2)))
    assert (result["contacts"]["number"], result["cured"], result["closed"]) == (1, 1, 1)
    assert result["paid"] == [{"currency": "CNY", "because": "after_contact", "number": 1, "amount": 12050}]
    assert steps(result)["one"]["paid_after"] == 1


def test_a_stop_silences_until_it_ends() -> None:
    stop = Stop("s", "hardship", local(-5, 0), local(5, 12))
    result = played(subject(debt(), stops=(stop,)), days=8)
    assert [(day["on"], day["number"]) for day in result["contacts"]["days"]] == [("2026-11-07", 1)]


def test_a_task_that_takes_its_time_is_done_and_given_again() -> None:
    done = played(subject(debt()), days=30, behaviour=Behaviour(tasks_take=timedelta(days=1)))
    assert [task["number"] for task in done["tasks"]] == [4], "on day 9, and 5 days after each was done"
    assert [task["number"] for task in played(subject(debt()), days=30)["tasks"]] == [1]


def test_a_task_is_given_anew_in_the_next_spell() -> None:
    paying = debt(next_due_on=DUE + timedelta(days=20), next_due=500)
    result = played(subject(paying), days=40, behaviour=Behaviour(cured_by_day=((10, WHOLE),)))
    assert (result["opened"], [task["number"] for task in result["tasks"]]) == (2, [2])


def test_an_instalment_that_is_not_paid_comes_due_and_opens_a_spell() -> None:
    soon = coming(next_due_on=DUE + timedelta(days=3))
    result = played(subject(soon), days=20)
    assert (result["opened"], list(steps(result))) == (1, ["one", "two"])
    assert played(subject(soon), days=20, behaviour=Behaviour(pays_when_due=WHOLE))["opened"] == 0


@given(seed=st.integers(0, 2**32), reached=st.integers(0, 40))
def test_a_cure_comes_on_a_day_of_the_table_after_the_day_that_was_reached(seed: int, reached: int) -> None:
    table = ((5, 200_000), (20, 500_000), (60, 900_000))
    day = Behaviour(seed, cured_by_day=table).cured_on(reached, "c1", 1)
    assert day is None or (day > reached and day in {5, 20, 60})


def test_the_share_that_is_cured_by_a_day_is_the_one_that_was_stated() -> None:
    behaviour = Behaviour(3, cured_by_day=((5, 200_000), (20, 500_000)))
    days = [behaviour.cured_on(0, f"c{n}", 1) for n in range(4000)]
    assert abs(days.count(5) / 4000 - 0.2) < 0.03
    assert abs(days.count(20) / 4000 - 0.3) < 0.03


late = st.builds(
    lambda days, zone, pays: debt(due_on=DUE - timedelta(days=days), zone=zone, overdue=pays),
    st.integers(0, 30), st.sampled_from(["Asia/Shanghai", "Etc/GMT", "America/New_York"]), st.integers(100, 90_000),
)  # fmt: skip
books = st.lists(late, min_size=1, max_size=6)
behaviours = st.builds(
    Behaviour, seed=st.integers(0, 2**40), pays_after_contact=st.sampled_from([0, 200_000, WHOLE]),
    cured_by_day=st.sampled_from([(), ((10, 300_000), (40, 700_000))]),
    arrives=st.sampled_from([{}, {"sms": 400_000}, {"sms": 0, "email": 500_000}]),
    tasks_take=st.sampled_from([None, timedelta(days=2)]),
)  # fmt: skip


def people(book: list[Debt]) -> list[Subject]:
    return [subject(one, who=f"B{n}") for n, one in enumerate(book)]


@settings(deadline=None, max_examples=40)
@given(book=books, behaviour=behaviours, order=st.randoms(use_true_random=False))
def test_in_whatever_order_borrowers_are_played_the_result_has_the_same_hash(book: list[Debt], behaviour: Behaviour, order: Any) -> None:
    one, other = people(book), people(book)
    order.shuffle(other)
    assert hash_of(played(*one, behaviour=behaviour)) == hash_of(played(*other, behaviour=behaviour))


@settings(deadline=None, max_examples=40)
@given(book=books, behaviour=behaviours)
def test_a_condition_that_is_always_met_changes_nothing(book: list[Debt], behaviour: Behaviour) -> None:
    """With conditions every outcome triggers planning; without them, only those after which something else may be due."""
    met = tuple(dataclasses.replace(step, when=condition("debt.total >= 0")) for step in POLICY.steps[:2]) + POLICY.steps[2:]
    asking = dataclasses.replace(POLICY, steps=met)
    rule = Rule(Choices(OWN.choices.assignments, {"own": Active(asking, InFlight.PIN)}), {("own", 1): asking})
    assert played(*people(book), behaviour=behaviour) == played(*people(book), rule=rule, behaviour=behaviour)


@settings(deadline=None, max_examples=40)
@given(book=books, behaviour=behaviours)
def test_nobody_hears_of_a_step_twice_and_everybody_late_at_the_end_has_a_reason(book: list[Debt], behaviour: Behaviour) -> None:
    result = played(*people(book), behaviour=behaviour, days=60)
    for step in result["steps"]:
        assert step.get("done", 0) <= result["opened"]
        assert step["asked"] == sum(step.get(word, 0) for word in ("done", "expired", "suppressed", "failed", "cancelled"))
    assert result["uncontacted"]["number"] == 0
    assert result["at_end"]["number"] + result["cured"] == result["opened"]


def test_a_policy_is_not_different_from_itself() -> None:
    result = played(*people([debt(), debt("L2", due_on=date(2026, 10, 1))]))
    assert all(not value for value in difference(result, result).values())


def test_what_a_stop_has_called_off_is_said_once_the_stop_has_ended() -> None:
    early = Policy("own", 1, (Step("one", 1, Send("gentle", ("sms",)), "07:00-12:00"),), timedelta(days=7))
    rule = Rule(Choices(OWN.choices.assignments, {"own": Active(early, InFlight.PIN)}), {("own", 1): early})
    stop = Stop("s", "hardship", local(1, 7, 30), local(2, 6))
    result = played(subject(debt(), stops=(stop,)), days=4, rule=rule)
    assert (steps(result)["one"]["cancelled_by"], steps(result)["one"]["asked"]) == ({"hardship": 1}, 2)
    assert [day["on"] for day in result["contacts"]["days"]] == ["2026-11-03"]
