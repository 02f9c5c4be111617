"""A condition evaluated for one case after another answers for each independently."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.case import ContactState
from services.scheduler.policies.conditions import condition, seen
from tests.unit.scheduler.build import case, debt, doing, live, local

SOURCES = ("debt.total >= 5000", "contacts.asked > 0 || debt.total < 100", "size(debts) > 1", '"gentle" in contacts.steps')


@given(st.sampled_from(SOURCES), st.lists(st.tuples(st.sampled_from((50, 4999, 5000)), st.integers(0, 2), st.booleans()), max_size=12))
def test_the_answer_is_that_of_a_condition_which_was_never_asked_before(source: str, wanted: list[tuple[int, int, bool]]) -> None:
    asked_often = condition(source)
    for total, debts, contacted in wanted:
        one = case(*(debt(f"L{n}", overdue=total) for n in range(debts)))
        if contacted:
            one, planned = live(one, local(2, 10, 15))
            one = doing(one, planned, local(2, 10, 15))
        assert asked_often.holds(one) == condition(source).holds(one) == (asked_often.program.execute(seen(one, asked_often.reads)) is True)


def test_a_contact_asked_for_changes_the_answer_of_the_same_case() -> None:
    asked, before = condition("contacts.asked > 0"), case(debt())
    assert not asked.holds(before)
    after, planned = live(before, local(2, 10, 15))
    assert planned.due
    assert [contact.state for contact in after.contacts] == [ContactState.REQUESTED]
    assert asked.holds(after)
    assert not asked.holds(before)
