"""What holds for borrowers' and loans' cases alike, while policies that separate loans alternate with those that do not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.value import replace
from services.scheduler.domain.advancing import followed
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import Closed, ContactState, Debt, State
from services.scheduler.domain.choosing import Active, Assignment, Choices, InFlight
from services.scheduler.domain.planner import ContactDue
from services.scheduler.domain.policy import AppliesTo, Consolidate, Policy
from services.scheduler.domain.subjects import Begun
from services.scheduler.domain.tracks import Track, housed
from services.scheduler.policies.reading import decode
from tests.unit.scheduler.build import DUE, case, coming, debt, doing, local
from tests.unit.scheduler.test_policy_documents import documents
from tests.unit.scheduler.test_properties import calmly

LOANS = ("L1", "L2", "L3")
UNSAID = frozenset({ContactState.EXPIRED})
"""Outcomes after which a contact is due again."""


def choices(*policies: Policy, in_flight: InFlight = InFlight.PIN) -> Choices:
    """Each policy for its segment; the last one for everything else."""
    items = [Assignment(one.name, AppliesTo(segments=frozenset({one.name}))) for one in policies[:-1]]
    return Choices((*items, Assignment(policies[-1].name, AppliesTo())), {one.name: Active(one, in_flight) for one in policies})


@dataclass
class Borrower:
    """A borrower's cases, with the facts of each loan going to the case that holds it, as in the store."""

    rules: Choices
    loans: tuple[str, ...] = LOANS
    tracks: list[Track] = field(default_factory=list)
    known: dict[str, Debt] = field(default_factory=dict)
    lives: Counter[str] = field(default_factory=Counter)
    """How often the case holding a loan was closed."""
    said: list[tuple[Any, ...]] = field(default_factory=list)
    segment: str = ""

    def __post_init__(self) -> None:
        first = case()
        self.tracks.append(Track(Begun(first, (BUILT_IN.name, BUILT_IN.version)), first, None))

    def where(self, loan_id: str) -> int:
        found = [n for n, track in enumerate(self.tracks) if any(one.loan_id == loan_id for one in track.case.debts)]
        assert len(found) <= 1, "a debt is in one case"
        return found[0] if found else 0

    def tell(self, one: Debt) -> None:
        """Take in a fact."""
        self.known[one.loan_id] = one = replace(one, segments=frozenset({self.segment}))
        at = self.where(one.loan_id)
        here = self.tracks[at].case
        self.tracks[at].case = replace(here, debts=(*(d for d in here.debts if d.loan_id != one.loan_id), one))
        housed(self.tracks, at, one, self.rules)

    def hear(self) -> None:
        """Apply a changed policy or segment."""
        for one in list(self.known.values()):
            self.tell(one)
        for track in self.tracks:
            track.case = replace(track.case, segment=self.segment)

    def look(self, now: datetime, ending: ContactState = ContactState.DONE) -> list[str]:
        """Do what is due in every case; return the steps of the contacts."""
        steps: list[str] = []
        for track in self.tracks:
            new = followed(track.case, track.policy, self.rules, now)
            assert new is not None
            self.lives.update(d.loan_id for d in track.case.debts for change in new.changes if isinstance(change, Closed))
            planned = new.planned(now)
            assert planned.reason.ends
            for due in planned.due:
                if isinstance(due, ContactDue):
                    steps.append(due.step.id)
                    if ending not in UNSAID:
                        self.said += [(one.loan_id, due.about or self.lives[one.loan_id], due.step.id) for one in due.debts]
            track.case, track.policy = doing(new.case, planned, now), new.policy
            ended = (replace(c, state=ending, done_at=now) if c.state is ContactState.REQUESTED else c for c in track.case.contacts)
            track.case = replace(track.case, contacts=tuple(ended))
        return steps


@dataclass(frozen=True)
class Move:
    """What applies from a moment on."""

    later: timedelta
    loan: str
    owed: bool
    version: int
    in_flight: InFlight
    segment: str
    ending: ContactState


MOVES = st.builds(
    Move,
    st.sampled_from((timedelta(minutes=20), timedelta(hours=9), timedelta(days=1), timedelta(days=4), timedelta(days=9))),
    st.sampled_from(LOANS), st.booleans(), st.integers(0, 3), st.sampled_from(list(InFlight)), st.sampled_from(("ours", "others", "")),
    st.sampled_from((ContactState.DONE, ContactState.DONE, ContactState.FAILED, ContactState.UNKNOWN, ContactState.EXPIRED)),
)  # fmt: skip
VERSIONS = st.lists(st.tuples(documents(), st.sampled_from(list(Consolidate))), min_size=1, max_size=4)


def versions_of(drawn: list[tuple[dict[str, Any], Consolidate]]) -> list[Policy]:
    return [
        dataclasses.replace(decode({**document, "policy": "ours"}, n), applies_to=AppliesTo(), consolidate=mode)
        for n, (document, mode) in enumerate(drawn, 1)
    ]


@calmly
@given(drawn=VERSIONS, other=st.sampled_from(list(Consolidate)), moves=st.lists(MOVES, min_size=2, max_size=14))
def test_nothing_is_said_twice_of_a_loan_before_its_spell_is_over_and_no_debt_is_lost(
    drawn: list[tuple[dict[str, Any], Consolidate]], other: Consolidate, moves: list[Move]
) -> None:
    versions = versions_of(drawn)
    others = dataclasses.replace(versions[0], name="others", consolidate=other)
    one, now = Borrower(choices(others, versions[0])), local(1, 9)
    for move in moves:
        now += move.later
        chosen = versions[min(move.version, len(versions) - 1)]
        one.rules, one.segment = choices(others, chosen, in_flight=move.in_flight), move.segment
        one.tell(debt(move.loan) if move.owed else coming(move.loan, next_due_on=DUE + timedelta(days=40)))
        one.hear()
        one.look(now, move.ending)
        assert {d.loan_id for track in one.tracks for d in track.case.debts} == set(one.known)
        for track in one.tracks:
            assert not track.case.loan_id or {d.loan_id for d in track.case.debts} <= {track.case.loan_id}
            assert not track.case.owed or track.case.state is State.OPEN
            held = Counter((c.spell, c.step, c.about) for c in track.case.contacts if c.state not in UNSAID)
            assert all(number == 1 for number in held.values())
    assert all(number == 1 for number in Counter(one.said).values()), "nothing is said again"


def ladder(mode: Consolidate) -> Policy:
    return dataclasses.replace(BUILT_IN, name="ours", consolidate=mode)


@pytest.mark.parametrize("mode", list(Consolidate))
@settings(deadline=None)
@given(days=st.lists(st.integers(1, 12), min_size=2, max_size=3), paying=st.integers(0, 2), later=st.integers(0, 20))
def test_paying_one_loan_reopens_no_step_of_the_others(mode: Consolidate, days: list[int], paying: int, later: int) -> None:
    one, now = Borrower(choices(ladder(mode))), local(0, 10)
    loans = LOANS[: len(days)]
    for loan, day in zip(loans, days, strict=True):
        one.tell(debt(loan, due_on=DUE - timedelta(days=day)))
    one.look(now)
    assert len([track for track in one.tracks if track.case.owed]) == (len(loans) if mode is Consolidate.LOAN else 1)
    gone = loans[paying % len(loans)]
    one.tell(replace(one.known[gone], overdue=0, past_due_from=None))
    assert one.look(now + timedelta(minutes=1)) == []
    for n in range(later):
        one.look(now + timedelta(days=n))
    assert all(number == 1 for number in Counter(one.said).values())


@pytest.mark.parametrize("in_flight", list(InFlight))
@pytest.mark.parametrize("before", list(Consolidate))
@pytest.mark.parametrize("after", list(Consolidate))
@settings(deadline=None, max_examples=20)
@given(days=st.lists(st.integers(1, 12), min_size=2, max_size=3), later=st.integers(0, 3))
def test_activating_a_version_that_parts_or_joins_loans_says_nothing_that_was_said(
    before: Consolidate, after: Consolidate, in_flight: InFlight, days: list[int], later: int
) -> None:
    one, now = Borrower(choices(ladder(before))), local(0, 10)
    for loan, day in zip(LOANS, days, strict=False):
        one.tell(debt(loan, due_on=DUE - timedelta(days=day)))
    one.look(now)
    said = list(one.said)
    one.rules = choices(dataclasses.replace(ladder(after), version=2), in_flight=in_flight)
    one.hear()
    assert one.look(now + timedelta(minutes=1)) == []
    for n in range(1, later + 1):
        one.look(now + timedelta(days=n))
    assert all(number == 1 for number in Counter(one.said).values())
    assert {loan for loan, _, _ in said} == set(one.known), "each loan was spoken of"
