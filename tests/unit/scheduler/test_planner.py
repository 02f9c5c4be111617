"""The ladder day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from libs.common.value import replace
from services.scheduler.domain.advancing import followed
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import Cancelled, Closed, ContactState, Cured, Errand, Opened, Reopened, State, follow
from services.scheduler.domain.choosing import Choices
from services.scheduler.domain.dealing import Approval
from services.scheduler.domain.outcomes import after
from services.scheduler.domain.planner import ContactDue, ErrandDue, plan, reminder_at
from services.scheduler.domain.policy import Policy, Send, Step
from services.scheduler.domain.stops import Hold, Stop
from tests.unit.scheduler.build import DUE, asked, case, coming, debt, live, local, with_last


@pytest.mark.parametrize(
    ("day", "step"),
    [
        (0, None),
        (1, "gentle"),
        (2, "gentle"),
        (3, "firm"),
        (4, "firm"),
        (6, "firm"),
        (7, "final"),
        (8, "final"),
        (13, "final"),
        (400, "final"),
    ],
)
def test_a_case_that_comes_in_late_begins_with_the_latest_step_of_its_day(day: int, step: str | None) -> None:
    _, planned = live(case(debt()), local(day, 10, 30))
    assert asked(planned) == ([step] if step else [])


@pytest.mark.parametrize(("hour", "minute", "due"), [(9, 59, False), (10, 0, True), (11, 29, True), (11, 30, False), (0, 0, False)])
def test_a_window_holds_its_first_minute_and_not_its_last(hour: int, minute: int, *, due: bool) -> None:
    _, planned = live(case(debt()), local(1, hour, minute))
    assert asked(planned) == (["gentle"] if due else [])


def test_a_window_that_has_passed_is_tomorrows_window_while_the_step_is_the_latest() -> None:
    _, planned = live(case(debt()), local(1, 11, 30))
    assert planned.upcoming is not None
    assert (planned.upcoming.step, planned.upcoming.at, planned.next_at) == ("gentle", local(2, 10), local(2, 10))


def test_a_step_whose_window_comes_after_the_next_steps_day_is_left_out() -> None:
    _, planned = live(case(debt()), local(2, 12))
    assert planned.upcoming is not None
    assert (planned.upcoming.step, planned.upcoming.at) == ("firm", local(3, 10))


def test_the_whole_ladder_is_gone_through_once_and_ends_with_a_person() -> None:
    one, steps, now = case(debt()), [], local(0, 12)
    for _ in range(20):
        one, planned = live(one, now)
        steps += [(asked(planned), now) for _ in planned.due if asked(planned)]
        if planned.next_at is None:
            break
        now = planned.next_at
    assert steps == [(["gentle"], local(1, 10)), (["firm"], local(3, 10)), (["final"], local(7, 10))]
    assert now == local(14, 0)
    assert (planned.next_at, planned.reason.kind, planned.reason.errand) == (None, "task_open", "review")
    one = replace(one, errands=(replace(one.errands[0], done_at=now),))
    _, planned = live(one, now)
    assert (planned.next_at, planned.reason.until) == (now + timedelta(days=14), now + timedelta(days=14))


def test_grace_and_pauses_are_taken_off() -> None:
    paused = debt(grace_days=3, pauses=((date(2026, 11, 3), date(2026, 11, 10)),))
    _, planned = live(case(paused), local(10, 12))
    assert planned.upcoming is not None
    assert (planned.upcoming.step, planned.upcoming.at) == ("gentle", local(11, 10))


def test_a_pause_without_an_end_is_a_reason_that_an_event_ends() -> None:
    _, planned = live(case(debt(pauses=((DUE, None),))), local(5, 10))
    assert (planned.due, planned.next_at, planned.reason.kind, planned.reason.event) == ((), None, "paused", "debt.changed")


def test_beside_a_debt_whose_clock_stands_still_the_end_of_a_hold_on_the_other_one_is_the_reason() -> None:
    held = Stop("h1", "promise", local(1, 0), local(4, 0), loan_id="L1", hold=Hold("c1", source="p1"))
    _, planned = live(case(debt("L1"), debt("L2", pauses=((DUE, None),)), stops=(held,)), local(2, 10))
    assert (planned.due, planned.next_at) == ((), local(4, 0))
    assert (planned.reason.kind, planned.reason.until) == ("promise", local(4, 0))


def test_the_day_is_that_of_the_oldest_debt_in_its_own_zone() -> None:
    old = debt("L2", due_on=DUE - timedelta(days=6), zone="America/New_York")
    _, planned = live(case(debt("L1"), old), local(1, 12))
    assert planned.upcoming is not None
    assert (planned.upcoming.step, planned.upcoming.at) == ("final", datetime(2026, 11, 2, 15, tzinfo=UTC))


def test_what_is_in_doubt_is_not_named_beside_what_is_certain() -> None:
    _, planned = live(case(debt("L1"), debt("L2", doubted=True)), local(1, 10))
    (due,) = planned.due
    assert isinstance(due, ContactDue)
    assert [named.loan_id for named in due.debts] == ["L1"]


def test_a_stop_with_an_end_is_waited_for_and_then_the_latest_step_is_due() -> None:
    stop = Stop("s1", "hardship", local(1, 0), local(4, 0))
    one, planned = live(case(debt(), stops=(stop,)), local(1, 10))
    assert (planned.due, planned.reason.kind, planned.next_at) == ((), "hardship", local(4, 0))
    one, planned = live(one, local(4, 10))
    assert asked(planned) == ["firm"]


def test_a_stop_of_a_channel_leaves_the_others() -> None:
    _, planned = live(case(debt(), stops=(Stop("s1", "opt_out", local(0, 0), None),)), local(1, 10))
    assert asked(planned) == ["gentle"]


def test_only_one_message_a_day_goes_out_when_an_older_debt_turns_up() -> None:
    one, _ = live(case(debt()), local(1, 10))
    _, planned = live(replace(one, debts=(debt(), debt("L2", due_on=DUE - timedelta(days=9)))), local(1, 10, 30))
    assert planned.upcoming is not None
    assert (asked(planned), planned.upcoming.step, planned.upcoming.at) == ([], "final", local(2, 10))


def test_a_failed_contact_becomes_one_task() -> None:
    one, _ = live(case(debt()), local(1, 10))
    one, planned = live(with_last(one, ContactState.FAILED), local(1, 11))
    assert [due.work.kind for due in planned.due if isinstance(due, ErrandDue)] == ["contact_failed"]
    _, planned = live(one, local(1, 12))
    assert planned.due == ()


@pytest.mark.parametrize(
    ("zone", "due_on", "opens"),
    [
        ("Europe/Berlin", date(2026, 3, 28), datetime(2026, 3, 29, 8, tzinfo=UTC)),
        ("Europe/Berlin", date(2026, 10, 24), datetime(2026, 10, 25, 9, tzinfo=UTC)),
        ("America/New_York", date(2026, 3, 7), datetime(2026, 3, 8, 14, tzinfo=UTC)),
        ("Africa/Cairo", date(2026, 4, 23), datetime(2026, 4, 24, 7, tzinfo=UTC)),
    ],
)
def test_the_window_opens_at_ten_by_the_wall_on_the_day_the_clock_moves(zone: str, due_on: date, opens: datetime) -> None:
    moment = datetime(due_on.year, due_on.month, due_on.day, 12, tzinfo=UTC)
    _, planned = live(case(debt(due_on=due_on, zone=zone)), moment)
    assert planned.upcoming is not None
    assert planned.upcoming.at == opens


def test_a_reminder_comes_three_days_before_and_none_on_the_due_day_or_after() -> None:
    assert reminder_at(coming(), BUILT_IN, local(-9, 10)) == local(-3, 10)
    assert reminder_at(coming(), BUILT_IN, local(-3, 10, 30)) == local(-3, 10, 30)
    assert reminder_at(coming(), BUILT_IN, local(-2, 11, 30)) == local(-1, 10)
    assert reminder_at(coming(), BUILT_IN, local(-1, 11, 30)) is None
    assert reminder_at(debt(), BUILT_IN, local(-3, 10)) is None


def test_each_due_date_is_reminded_of_once_over_all_spells() -> None:
    one, planned = live(case(coming()), local(-3, 10))
    assert asked(planned) == ["due-soon"]
    one, planned = live(replace(one, debts=()), local(-2, 10))
    assert one.state is State.CLOSED
    one, planned = live(replace(one, debts=(coming(),)), local(-1, 10))
    assert (one.spell, asked(planned)) == (2, [])
    _, planned = live(replace(one, debts=(coming(next_due_on=date(2026, 12, 1)),)), local(27, 10))
    assert asked(planned) == ["due-soon"]


def test_a_case_that_was_just_cured_is_reminded_of_what_comes_due_as_often_as_any_other() -> None:
    early, late = (Step(name, day, Send(name, ("push",), "reminder"), "10:00-11:30") for name, day in (("early", -3), ("late", -1)))
    policy = Policy("own", 1, (early, late), timedelta(days=7))
    one, _ = follow(case(debt(due_on=DUE - timedelta(days=9))), policy, local(-5, 9))
    one, _ = follow(replace(one, debts=(coming(),)), policy, local(-4, 9))
    planned = plan(one, policy, local(-3, 10))
    assert (one.state, asked(planned), planned.next_at) == (State.CURED, ["early"], local(-1, 10))


def test_a_case_opens_is_cured_comes_back_and_closes() -> None:
    kinds = []
    one = case(debt())
    for debts, now in [((debt(),), local(1, 9)), ((), local(2, 9)), ((debt(),), local(3, 9)), ((), local(4, 9)), ((), local(11, 9))]:
        one, changes = follow(replace(one, debts=debts), BUILT_IN, now)
        kinds += [type(change) for change in changes]
    assert kinds == [Opened, Cured, Reopened, Cured, Closed]
    one, changes = follow(replace(one, debts=(debt(),)), BUILT_IN, local(12, 9))
    assert ([type(change) for change in changes], one.spell) == ([Opened], 2)


@pytest.mark.parametrize("state", [State.CURED, State.CLOSED])
def test_a_spell_has_nothing_of_the_one_before_though_that_was_over_unseen_but_for_the_tasks_that_stops_make(state: State) -> None:
    told, approved = {"spell": 1, "clear_since": local(2, 9)}, Approval("legal", approved=True, by="ola", at=local(1, 9))
    ended = case(debt(), state=state, flagged=frozenset({"call"}), acted=frozenset({"bureau"}), approvals=(approved,), **told)
    ended = replace(ended, errands=(Errand("t1", "review", 1, None), Errand("t2", "stop:m-1", 1, None)))
    found = followed(ended, BUILT_IN, Choices(), local(12, 9))
    assert found is not None
    assert [type(change) for change in found.changes] == ([Closed, Opened] if state is State.CURED else [Opened])
    begun = found.case
    assert (begun.spell, begun.flagged, begun.acted, begun.approvals) == (2, frozenset(), frozenset(), ())
    assert [errand.key for errand in begun.errands] == ["stop:m-1"]


def test_contacts_under_way_are_taken_back_once() -> None:
    one, _ = live(case(debt()), local(1, 10))
    one, changes = follow(replace(one, debts=()), BUILT_IN, local(1, 11))
    assert [type(change) for change in changes] == [Cured, Cancelled]
    _, changes = follow(one, BUILT_IN, local(1, 12))
    assert changes == ()


def test_a_review_is_made_up_for_after_a_stop_without_end() -> None:
    stop = Stop("s1", "deceased", local(0, 0), None)
    one, planned = live(case(debt(), stops=(stop,)), local(1, 10))
    assert (planned.reason.kind, planned.reason.errand, asked(planned)) == ("deceased", "stop:s1", [])
    done = replace(one, errands=(Errand("t", "stop:s1", 1, local(2, 10)),))
    planned = plan(done, BUILT_IN, local(3, 10))
    assert (planned.due, planned.next_at, planned.reason.until) == ((), local(32, 10), local(32, 10))


@pytest.mark.parametrize(
    ("before", "kind", "then"),
    [
        (ContactState.REQUESTED, "contact.sent", ContactState.DONE),
        (ContactState.CANCELLED, "contact.sent", ContactState.DONE),
        (ContactState.DONE, "contact.failed", ContactState.FAILED),
        (ContactState.DONE, "contact.expired", ContactState.DONE),
        (ContactState.UNKNOWN, "contact.delivered", ContactState.DONE),
        (ContactState.DEFERRED, "contact.suppressed", ContactState.SUPPRESSED),
        (ContactState.DEFERRED, "contact.expired", ContactState.EXPIRED),
        (ContactState.DONE, "contact.complained", ContactState.DONE),
    ],
)
def test_an_outcome_moves_a_step_as_the_table_says(before: ContactState, kind: str, then: ContactState) -> None:
    assert after(before, kind) is then
