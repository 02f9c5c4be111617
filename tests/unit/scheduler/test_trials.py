"""Champion and challenger: who is assigned to which arm, and when nobody goes to the challenger any more."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from math import sqrt

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from libs.common.value import replace
from services.scheduler.domain.case import Case, State, follow
from services.scheduler.domain.choosing import Active, Assignment, Choices, InFlight, ruled
from services.scheduler.domain.policy import AppliesTo, Policy
from services.scheduler.domain.trials import Arm, Counted, Experiment, Guardrails, Passed, Trial, passed
from services.scheduler.policies.reading import decode, understand
from services.scheduler.policies.writing import encode
from tests.unit.scheduler.build import case, debt, local
from tests.unit.scheduler.test_properties import CASES, MOMENTS

MANY = 4000
FEW_TIMES = settings(deadline=None, max_examples=10)
"""The number of borrowers assigned each time."""
SALTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=64)
SHARES = st.integers(1, 50)
EXPERIMENTS = st.builds(Experiment, st.just(("gentle", 3)), SHARES, SALTS)
DOCUMENT = {"steps": [{"id": "a", "at": {"day": 1}, "send": {"template": "gentle", "channels": ["sms"]}}]}
CHALLENGER = decode({"policy": "gentle", **DOCUMENT}, 3)


def champion(experiment: Experiment, version: int = 1) -> Policy:
    return dataclasses.replace(decode({"policy": "ours", **DOCUMENT}, version), experiment=experiment)


def choices(policy: Policy, in_flight: InFlight = InFlight.PIN, *, challenger: Policy | None = CHALLENGER) -> Choices:
    active = {"ours": Active(policy, in_flight, challenger), "gentle": Active(dataclasses.replace(CHALLENGER, version=4), InFlight.RESTART)}
    return Choices((Assignment("ours", AppliesTo()),), active)


@FEW_TIMES
@given(experiment=EXPERIMENTS, people=st.integers(0, 10**9))
def test_the_challengers_share_is_what_was_asked_for_within_the_bounds_of_chance(experiment: Experiment, people: int) -> None:
    dealt = sum(experiment.arm_of(f"B{people + n}") is Arm.CHALLENGER for n in range(MANY))
    wanted = experiment.share / 100
    assert abs(dealt - MANY * wanted) < 6 * sqrt(MANY * wanted * (1 - wanted)), "six standard deviations of a binomial"


@given(experiment=EXPERIMENTS, who=st.text(min_size=1), other=SHARES)
def test_a_borrower_is_always_dealt_to_the_same_arm_and_a_larger_share_only_adds_to_it(
    experiment: Experiment, who: str, other: int
) -> None:  # fmt: skip
    assert experiment.arm_of(who) is dataclasses.replace(experiment).arm_of(who)
    smaller, larger = (dataclasses.replace(experiment, share=share) for share in sorted((experiment.share, other)))
    if smaller.arm_of(who) is Arm.CHALLENGER:
        assert larger.arm_of(who) is Arm.CHALLENGER


@FEW_TIMES
@given(salts=st.lists(SALTS, min_size=2, max_size=2, unique=True))
def test_another_salt_deals_anew(salts: list[str]) -> None:
    first, second = (
        [Experiment(("gentle", 3), 50, salt).arm_of(f"B{n}") is Arm.CHALLENGER for n in range(MANY)] for salt in salts
    )  # fmt: skip
    moved = sum(a is not b for a, b in zip(first, second, strict=True))
    assert abs(moved - MANY / 2) < 6 * sqrt(MANY / 4), "half of them change places, as with two throws of a coin"


@given(one=CASES, who=st.text(min_size=1), both=st.tuples(EXPERIMENTS, EXPERIMENTS), now=MOMENTS, in_flight=st.sampled_from(InFlight))
def test_nobody_changes_arms_within_a_spell_whatever_is_activated_or_stopped(
    one: Case, who: str, both: tuple[Experiment, Experiment], now: datetime, in_flight: InFlight
) -> None:  # fmt: skip
    assume(one.owed)
    experiment, another = both
    one = replace(one, borrower_id=who, state=State.CLOSED)
    begun, policy = ruled(one, None, choices(champion(experiment)), now)
    arm = experiment.arm_of(who)
    assert begun.trial == Trial("ours", 1, arm)
    assert policy == (CHALLENGER if arm is Arm.CHALLENGER else champion(experiment))
    begun, _ = follow(begun, policy, now)
    for later in (choices(champion(another, 2), in_flight), choices(champion(experiment), in_flight, challenger=None)):
        moved, ruling = ruled(begun, policy, later, now)
        assert moved.trial == begun.trial
        assert ruling is not None
        assert (ruling == CHALLENGER) is (arm is Arm.CHALLENGER)


def test_the_next_spell_is_dealt_anew_and_to_the_champion_once_the_experiment_is_over() -> None:
    experiment = Experiment(("gentle", 3), 50, "s")
    who = next(f"B{n}" for n in range(100) if experiment.arm_of(f"B{n}") is Arm.CHALLENGER)
    one = case(debt(), borrower_id=who)
    begun, policy = ruled(one, None, choices(champion(experiment)), local(1, 9))
    assert policy == CHALLENGER
    again, policy = ruled(replace(begun, state=State.CLOSED), policy, choices(champion(experiment), challenger=None), local(40, 9))
    assert (again.trial, policy) == (None, champion(experiment))


@given(rate=st.floats(0, 100), at_least=st.integers(1, 500), cases=st.integers(0, 1000), number=st.integers(0, 1000))
def test_a_guardrail_is_passed_by_more_than_its_rate_among_enough_spells(rate: float, at_least: int, cases: int, number: int) -> None:
    number = min(number, cases)
    found = passed(Guardrails(opt_out_rate=rate, at_least=at_least), Counted(cases, 0, number))
    assert (found is not None) is (cases >= at_least and cases > 0 and number * 100 > rate * cases)
    assert passed(Guardrails(complaint_rate=rate, at_least=at_least), Counted(cases, 0, number)) is None


def test_the_guardrail_that_was_passed_says_by_how_much() -> None:
    rails = Guardrails(complaint_rate=0.5, opt_out_rate=2, at_least=200)
    assert passed(rails, Counted(200, 1, 4)) is None
    assert passed(rails, Counted(199, 50, 50)) is None
    assert passed(rails, Counted(200, 2, 9)) == Passed("complaint_rate", 0.5, 200, 2)
    assert Passed("complaint_rate", 0.5, 200, 2).rate == 1.0


@given(experiment=st.builds(
    Experiment, st.just(("gentle", 3)), SHARES, SALTS,
    st.one_of(st.just(Guardrails()), st.builds(Guardrails, st.floats(0, 100), st.none() | st.floats(0, 100), st.integers(1, 10**6))),
))  # fmt: skip
def test_an_experiment_comes_back_from_its_document_as_it_was(experiment: Experiment) -> None:
    policy = champion(experiment)
    assert decode(encode(policy), 1) == policy


def test_a_guardrail_that_is_not_known_or_says_nothing_is_refused_with_its_place() -> None:
    step = "{id: a, at: {day: 1}, send: {template: gentle, channels: [sms]}}"
    for stop, path, code in (
        ("{happiness: 1}", "experiment.stop_when.happiness", "unknown_key"), ("{at_least: 5}", "experiment.stop_when", "invalid"),
        ("{complaint_rate: 101}", "experiment.stop_when.complaint_rate", "invalid"),
    ):  # fmt: skip
        experiment = f'{{challenger: "gentle@3", share: 10, salt: x, stop_when: {stop}}}'
        faults = understand(f"policy: ours\nsteps:\n  - {step}\nexperiment: {experiment}\n").faults
        assert (path, code) in [(fault.path, fault.error) for fault in faults]
