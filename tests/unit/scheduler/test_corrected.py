"""Which contacts were made on facts that have since been corrected."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.corrected import KNOWN_BY, ContactMade, Correction, Days, DebtSeen, corrected

ZONE = "Asia/Shanghai"
DAY_3 = date(2026, 11, 4)
MADE_AT = datetime(2026, 11, 4, 2, 15, tzinfo=UTC)
"""10:15 in Shanghai on day 3."""


def contact(*loans: str, version: int = 1, **other: object) -> ContactMade:
    debts = tuple(DebtSeen(loan, 1, version) for loan in loans or ("L1",))
    return ContactMade(**{"task_id": "t1", "step": "firm", "about": None, "made_at": MADE_AT, "debts": debts, **other})  # type: ignore[arg-type]  # as a contact has them


def since(day: date, *, until: date | None = None, owed: bool = False) -> tuple[Days, ...]:
    return (Days(day, until, owed),)


def correction(days: tuple[Days, ...], loan_id: str = "L1", *, version: int = 2, after: timedelta = timedelta(days=7)) -> Correction:
    return Correction(loan_id, 1, version, ZONE, MADE_AT + after, "e9", days)


def test_a_contact_of_a_day_on_which_nothing_was_due_as_is_known_now_had_no_ground() -> None:
    [news] = corrected([contact()], [correction(since(date(2026, 11, 1)))])
    assert (news.contact.task_id, news.groundless, news.by.version) == ("t1", True, 2)


def test_a_contact_of_a_day_on_which_something_else_was_due_is_corrected_and_had_its_ground() -> None:
    [news] = corrected([contact()], [correction(since(DAY_3, owed=True))])
    assert not news.groundless


def test_a_contact_of_a_day_of_which_nothing_else_is_told_is_not_corrected() -> None:
    tomorrow = DAY_3 + timedelta(days=1)
    for days in (since(tomorrow), since(date(2026, 11, 1), until=DAY_3)):
        assert corrected([contact()], [correction(days)]) == ()


def test_the_day_of_a_contact_is_that_of_the_loan_s_zone() -> None:
    late = contact(made_at=datetime(2026, 11, 3, 17, tzinfo=UTC))
    assert len(corrected([late], [correction(since(DAY_3))])) == 1


def test_a_contact_asked_for_on_the_correcting_fact_or_a_later_one_is_not_corrected() -> None:
    for version in (2, 3):
        assert corrected([contact(version=version)], [correction(since(DAY_3))]) == ()


def test_a_contact_that_began_when_the_correction_was_known_is_not_corrected() -> None:
    assert corrected([contact()], [correction(since(DAY_3), after=-KNOWN_BY)]) == ()
    assert len(corrected([contact()], [correction(since(DAY_3), after=timedelta(microseconds=1) - KNOWN_BY)])) == 1


def test_a_contact_about_two_debts_had_its_ground_while_one_of_them_was_due() -> None:
    both = contact("L1", "L2")
    [news] = corrected([both], [correction(since(DAY_3))])
    assert not news.groundless
    [news] = corrected([both], [correction(since(DAY_3)), correction(since(DAY_3), "L2")])
    assert news.groundless


def test_what_the_newest_correction_says_of_the_day_is_what_is_known_now() -> None:
    paid, undone = correction(since(DAY_3)), correction(since(DAY_3, owed=True), version=3)
    assert not corrected([contact()], [undone, paid])[0].groundless
    paid_after_all = correction(since(DAY_3), version=4)
    assert corrected([contact()], [paid_after_all, undone, paid])[0].groundless


def test_a_reminder_is_corrected_and_never_without_ground() -> None:
    [news] = corrected([contact(about=date(2026, 11, 6))], [correction(since(DAY_3))])
    assert not news.groundless


def test_what_was_said_of_a_contact_is_not_said_again() -> None:
    cleared, partly = correction(since(DAY_3)), correction(since(DAY_3, owed=True))
    assert corrected([contact(corrected=True, groundless=True)], [cleared]) == ()
    assert corrected([contact(corrected=True)], [partly]) == ()
    [news] = corrected([contact(corrected=True)], [cleared])
    assert news.groundless


corrections = st.builds(
    correction,
    st.lists(st.builds(Days, st.dates(date(2026, 11, 1), date(2026, 11, 6)), st.none(), st.booleans()), min_size=1, max_size=2).map(tuple),
    st.sampled_from(("L1", "L2")),
    version=st.integers(1, 6),
    after=st.timedeltas(timedelta(seconds=-5), timedelta(days=3)),
)


@given(known=st.lists(corrections, max_size=6, unique_by=lambda one: (one.loan_id, one.version)), chance=st.randoms())
def test_the_order_in_which_corrections_come_does_not_matter(known: list[Correction], chance: object) -> None:
    other = list(known)
    chance.shuffle(other)  # type: ignore[attr-defined]  # a random.Random
    assert corrected([contact("L1", "L2")], known) == corrected([contact("L1", "L2")], other)
