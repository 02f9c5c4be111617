"""A contact that may have gone out: held, never repeated in its spell, and work for a person once nobody can find out any more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.value import replace
from services.scheduler.domain.case import Case, ContactState
from services.scheduler.domain.outcomes import after
from services.scheduler.domain.planner import ErrandDue, Plan
from tests.unit.scheduler.build import asked, case, debt, live, local, with_last

STATES = st.sampled_from(list(ContactState))
KINDS = st.sampled_from([f"contact.{kind}" for kind in ("sent", "delivered", "unknown", "failed", "expired", "suppressed", "deferred")])


def doubtful(state: ContactState = ContactState.UNKNOWN) -> Case:
    """A ladder's first message with an unknown outcome; its deadline is the next day at 10:00."""
    one, _ = live(case(debt()), local(1, 10))
    one = with_last(one, state)
    return replace(one, contacts=tuple(replace(contact, until=local(2, 10)) for contact in one.contacts))


def given_work(planned: Plan) -> list[tuple[str, str]]:
    return [(due.work.kind, due.work.queue) for due in planned.due if isinstance(due, ErrandDue)]


@pytest.mark.parametrize(
    ("before", "final", "then"),
    [
        (ContactState.REQUESTED, False, ContactState.UNKNOWN),
        (ContactState.UNKNOWN, False, ContactState.UNKNOWN),
        (ContactState.UNKNOWN, True, ContactState.UNRESOLVED),
        (ContactState.REQUESTED, True, ContactState.UNRESOLVED),
        (ContactState.CANCELLED, True, ContactState.UNRESOLVED),
        (ContactState.DONE, True, ContactState.DONE),
        (ContactState.FAILED, True, ContactState.FAILED),
    ],
)
def test_the_last_word_on_an_unknown_contact_closes_it_unless_more_is_known(
    before: ContactState, *, final: bool, then: ContactState
) -> None:
    assert after(before, "contact.unknown", final=final) is then


@given(state=STATES, kind=KINDS, final=st.booleans())
def test_what_is_unresolved_is_lifted_by_news_alone_and_never_becomes_unsaid(state: ContactState, kind: str, *, final: bool) -> None:
    then = after(ContactState.UNRESOLVED, kind, final=final)
    assert then in {ContactState.UNRESOLVED, ContactState.DONE, ContactState.FAILED}
    if state in {ContactState.DONE, ContactState.FAILED}:
        assert after(state, "contact.unknown", final=final) is state


def test_while_it_is_unknown_the_case_says_so_and_until_when() -> None:
    _, planned = live(doubtful(), local(1, 11))
    assert (planned.reason.kind, planned.reason.until, planned.due) == ("contact_unknown", local(2, 10), ())


def test_at_its_deadline_it_is_work_for_a_person_once_and_is_not_said_again() -> None:
    one, planned = live(doubtful(ContactState.UNRESOLVED), local(2, 10))
    assert (given_work(planned), asked(planned)) == ([("contact_unknown", "review")], [])
    assert (planned.reason.kind, planned.reason.errand) == ("contact_unknown", "contact:gentle:1")
    one, planned = live(one, local(2, 11))
    assert planned.due == ()
    done = replace(one, errands=tuple(replace(errand, done_at=local(2, 12)) for errand in one.errands))
    done, planned = live(done, local(2, 12))
    assert (planned.due, planned.reason.kind) == ((), "scheduled")
    _, planned = live(done, local(3, 10))
    assert (asked(planned), given_work(planned)) == (["firm"], [])


def test_a_receipt_after_the_deadline_ends_the_reason() -> None:
    one, _ = live(doubtful(ContactState.UNRESOLVED), local(2, 10))
    _, planned = live(with_last(one, ContactState.DONE), local(2, 11))
    assert planned.reason.kind == "scheduled"


def test_an_unknown_contact_of_a_case_that_is_paid_is_work_for_nobody() -> None:
    _, planned = live(replace(doubtful(ContactState.UNRESOLVED), debts=()), local(2, 10))
    assert (planned.due, planned.reason.kind) == ((), "clear")
