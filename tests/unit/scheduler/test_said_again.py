"""A contact that surely did not go out is requested again; one that may have gone out is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.value import replace
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import Case, ContactState, follow
from services.scheduler.domain.outcomes import after
from services.scheduler.domain.planner import ContactDue, ErrandDue, Plan
from services.scheduler.domain.stops import Stop
from tests.unit.scheduler.build import asked, case, coming, debt, live, local, with_last


def after_reversal(state: ContactState, reason: str | None = None) -> Plan:
    """The next morning's plan, if a contact ended like this while paid and the payment was then reversed."""
    one, _ = live(case(debt()), local(1, 10))
    one, _ = follow(replace(one, debts=()), BUILT_IN, local(1, 11))
    one = with_last(one, state, reason)
    one, _ = follow(replace(one, debts=(debt(),)), BUILT_IN, local(1, 12))
    return live(one, local(2, 10))[1]


@pytest.mark.parametrize("reason", ["cancelled", "paid", "nothing_owed"])
def test_what_a_payment_has_kept_from_going_out_is_said_when_the_payment_is_reversed(reason: str) -> None:
    planned = after_reversal(ContactState.SUPPRESSED, reason)
    assert [(due.step.id, due.occurrence) for due in planned.due if isinstance(due, ContactDue)] == [("gentle", 2)]


@pytest.mark.parametrize("state", [ContactState.CANCELLED, ContactState.DONE, ContactState.UNKNOWN])
def test_what_went_out_or_may_have_gone_out_is_not_said_again_when_a_payment_is_reversed(state: ContactState) -> None:
    assert asked(after_reversal(state)) == []


@pytest.mark.parametrize("reason", ["cancelled", "dispute", "hardship"])
def test_what_a_stop_has_kept_from_going_out_is_said_once_the_stop_has_ended(reason: str) -> None:
    one, _ = live(case(debt()), local(1, 10))
    stopped = replace(one, stops=(Stop("s1", "dispute", local(1, 11), None),))
    stopped, _ = follow(stopped, BUILT_IN, local(1, 11))
    stopped, planned = live(with_last(stopped, ContactState.SUPPRESSED, reason), local(2, 10))
    assert asked(planned) == []
    _, planned = live(replace(stopped, stops=()), local(2, 10, 30))
    assert asked(planned) == ["gentle"]
    assert [due.key for due in planned.due if isinstance(due, ErrandDue)] == []


def test_a_reminder_kept_back_by_a_payment_is_said_when_the_payment_is_reversed() -> None:
    one, _ = live(case(coming()), local(-3, 10))
    one, _ = follow(replace(one, debts=()), BUILT_IN, local(-3, 11))
    one, planned = live(replace(with_last(one, ContactState.SUPPRESSED, "cancelled"), debts=(coming(),)), local(-2, 10))
    assert asked(planned) == ["due-soon"]


@pytest.mark.parametrize(
    ("before", "kind", "then"),
    [
        (ContactState.CANCELLED, "contact.suppressed", ContactState.SUPPRESSED),
        (ContactState.CANCELLED, "contact.expired", ContactState.EXPIRED),
        (ContactState.CANCELLED, "contact.unknown", ContactState.UNKNOWN),
        (ContactState.CANCELLED, "contact.deferred", ContactState.CANCELLED),
        (ContactState.CANCELLED, "contact.failed", ContactState.FAILED),
        (ContactState.UNKNOWN, "contact.suppressed", ContactState.UNKNOWN),
        (ContactState.UNKNOWN, "contact.expired", ContactState.UNKNOWN),
        (ContactState.UNKNOWN, "contact.failed", ContactState.FAILED),
    ],
)
def test_only_an_outcome_says_that_a_contact_did_not_go_out(before: ContactState, kind: str, then: ContactState) -> None:
    assert after(before, kind) is then


@pytest.mark.parametrize(("state", "tasks"), [("shadow", []), ("opted_out", ["contact:gentle:1"])])
def test_a_contact_that_was_only_decided_on_is_work_for_nobody_and_the_ladder_goes_on(state: str, tasks: list[str]) -> None:
    one, _ = live(case(debt()), local(1, 10))
    one, planned = live(with_last(one, ContactState.SUPPRESSED, state), local(2, 10))
    assert ([due.key for due in planned.due if isinstance(due, ErrandDue)], asked(planned)) == (tasks, [])
    _, planned = live(one, local(3, 10))
    assert asked(planned) == ["firm"]


def test_a_contact_that_waits_for_a_profile_becomes_work_for_a_person_at_once_and_only_once() -> None:
    one, _ = live(case(debt()), local(1, 10))
    one, planned = live(with_last(one, ContactState.DEFERRED, "profile_unknown"), local(1, 10, 1))
    assert [due.work.kind for due in planned.due if isinstance(due, ErrandDue)] == ["no_profile"]
    assert (planned.reason.kind, planned.reason.errand) == ("no_profile", "no_profile")
    one, planned = live(with_last(one, ContactState.EXPIRED, "profile_unknown"), local(2, 10))
    assert (asked(planned), [due for due in planned.due if isinstance(due, ErrandDue)]) == (["gentle"], [])


def test_a_profile_that_comes_in_time_is_work_for_nobody() -> None:
    one, _ = live(case(debt()), local(1, 10))
    one, planned = live(with_last(one, ContactState.DEFERRED, "profile_unknown"), local(1, 10))
    assert (planned.due, planned.reason.kind) == ((), "no_profile")
    _, planned = live(with_last(one, ContactState.DONE), local(1, 10, 5))
    assert (planned.due, planned.reason.kind) == ((), "scheduled")


def test_a_reminder_that_waits_for_a_profile_becomes_work_for_a_person_before_anything_is_overdue() -> None:
    one, _ = live(case(coming()), local(-3, 10))
    _, planned = live(with_last(one, ContactState.DEFERRED, "profile_unknown"), local(-3, 10, 1))
    assert [due.work.kind for due in planned.due if isinstance(due, ErrandDue)] == ["no_profile"]


class Truth(Enum):
    """What really became of a request at the sender."""

    WAITS = "waits"
    FLIES = "flies"
    KEPT_BACK = "kept back"


@dataclass(frozen=True)
class Move:
    """What applies at the next plan, and what the sender has done by then."""

    later: timedelta
    owed: bool
    stopped: bool
    sends: bool
    ends: bool
    tells: bool
    flight: str


MOVES = st.builds(
    Move,
    st.sampled_from((timedelta(minutes=1), timedelta(minutes=15), timedelta(days=1))),
    owed=st.booleans(),
    stopped=st.sampled_from((False, False, True)),
    sends=st.booleans(),
    ends=st.sampled_from((False, False, True)),
    tells=st.booleans(),
    flight=st.sampled_from(("contact.sent", "contact.unknown", "contact.delivered")),
)


class Sender:
    """Sends what it was asked to, cancels what it can, and reports each late or never."""

    def __init__(self) -> None:
        self.truth: dict[str, Truth] = {}
        self.unsaid: dict[str, tuple[str, str | None]] = {}

    def hears(self, one: Case) -> None:
        """Take in requests and cancellations."""
        for contact in one.contacts:
            self.truth.setdefault(contact.task_id, Truth.WAITS)
            if contact.state is ContactState.CANCELLED and self.truth[contact.task_id] is Truth.WAITS:
                self.keeps_back(contact.task_id, "contact.suppressed", "cancelled")

    def keeps_back(self, task_id: str, kind: str, reason: str | None) -> None:
        self.truth[task_id], self.unsaid[task_id] = Truth.KEPT_BACK, (kind, reason)

    def sends(self, end: str) -> None:
        for task_id, truth in self.truth.items():
            if truth is Truth.WAITS:
                self.truth[task_id], self.unsaid[task_id] = Truth.FLIES, (end, None)

    def refuses(self, *, owed: bool) -> None:
        """Find the debt paid before the scheduler does, or reach the end of the window."""
        for task_id, truth in list(self.truth.items()):
            if truth is Truth.WAITS:
                self.keeps_back(task_id, *(("contact.expired", None) if owed else ("contact.suppressed", "paid")))

    def says(self, one: Case) -> Case:
        told, self.unsaid = self.unsaid, {}
        contacts = (
            replace(c, state=after(c.state, told[c.task_id][0]), reason=told[c.task_id][1]) if c.task_id in told else c
            for c in one.contacts
        )
        return replace(one, contacts=tuple(contacts))


@settings(deadline=None, max_examples=300)
@given(moves=st.lists(MOVES, min_size=16, max_size=24))
def test_whatever_is_paid_reversed_and_stopped_no_step_can_have_gone_out_twice_in_a_spell(moves: list[Move]) -> None:
    one, now, sender = case(debt()), local(1, 9, 59), Sender()
    for move in moves:
        now += move.later
        if move.sends:
            sender.sends(move.flight)
        if move.ends:
            sender.refuses(owed=bool(one.debts))
        if move.tells:
            one = sender.says(one)
        stops = (Stop("s1", "dispute", now, None),) if move.stopped else ()
        one, _ = live(replace(one, debts=(debt(),) if move.owed else (), stops=stops), now)
        sender.hears(one)
    flown = Counter((c.spell, c.step, c.about) for c in one.contacts if sender.truth[c.task_id] is Truth.FLIES)
    assert all(number == 1 for number in flown.values())
