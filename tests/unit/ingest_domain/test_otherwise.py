"""Which past days are corrected, compared with checking each day by itself."""

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.domain.advance import advance
from services.ingest.domain.events import ChargedBack, LoanEvent, RepaymentReversed
from services.ingest.domain.fold import fold
from services.ingest.domain.history import Since, books, parted_on, past_of
from services.ingest.domain.otherwise import Otherwise, told, told_otherwise
from services.ingest.domain.product import DEFAULT, ProductLine
from services.ingest.domain.value import replace

from .loans import LAST, LOAN, event_sets, on, place, products, repaid

SLOW = settings(deadline=None, max_examples=250)
last_days = st.integers(1, LAST + 10)


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def compared(before: list[LoanEvent], after: list[LoanEvent], product: ProductLine, *, first: date, today: date) -> tuple[Otherwise, ...]:
    """The days that differ, as ingest finds them when it refolds."""
    was, now = past_of(before, product), past_of(after, product)
    parted = parted_on(was, now)
    if parted is None or parted >= today:
        return ()
    begin = max(first, parted)
    return told_otherwise(books(was, begin, today), books(now, begin, today), first=begin, today=today)


def one_by_one(before: list[LoanEvent], after: list[LoanEvent], product: ProductLine, *, first: date, today: date) -> dict[date, bool]:
    """The days that differ and whether something is overdue on them, with each day folded by itself."""
    found = {}
    for day in days_between(first, today):
        was, now = told(fold(before, product, day), day), told(fold(after, product, day), day)
        if was != now:
            found[day] = now is not None and now.overdue.total > 0
    return found if any(day < today for day in found) else {}


def as_days(spans: tuple[Otherwise, ...], today: date) -> dict[date, bool]:
    return {
        day: span.owed
        for span in spans
        for day in days_between(span.from_on, (span.until or today + timedelta(days=1)) - timedelta(days=1))
    }


@SLOW
@given(events=event_sets(), product=products(), first=st.integers(0, LAST), ahead=st.integers(0, LAST), cut=st.integers(0, 12))
def test_the_days_told_otherwise_are_those_that_differ_when_each_is_folded_by_itself(
    events: list[LoanEvent], product: ProductLine, first: int, ahead: int, cut: int
) -> None:
    before, today = events[:cut], on(first + ahead)
    found = compared(before, events, product, first=on(first), today=today)
    assert as_days(found, today) == one_by_one(before, events, product, first=on(first), today=today)
    assert all(one.until is None or one.from_on < one.until <= today for one in found)


@SLOW
@given(events=event_sets(), product=products(), today=last_days, first=st.integers(0, LAST))
def test_a_book_that_goes_on_tells_the_same_days_otherwise_as_one_folded_again(
    events: list[LoanEvent], product: ProductLine, today: int, first: int
) -> None:
    book = fold((), product, on(today))
    for count, event in enumerate(events, 1):
        further = advance(book, event, product, on(today)) if book.known else None
        if further is not None and further.last is not None and further.last != book.last:
            begin = max(on(first), further.last.day)
            pieces: list[Since] = [(begin, further)]
            found = told_otherwise([(begin, book)], pieces, first=begin, today=on(today)) if begin < on(today) else ()
            assert found == compared(events[: count - 1], events[:count], product, first=on(first), today=on(today))
        elif further is not None:
            assert compared(events[: count - 1], events[:count], product, first=on(first), today=on(today)) == ()
        book = further or fold(events[:count], product, on(today))


@SLOW
@given(events=event_sets(), product=products(), first=st.integers(0, LAST), ahead=st.integers(0, LAST))
def test_the_books_of_following_days_are_those_that_a_fold_of_each_day_gives(
    events: list[LoanEvent], product: ProductLine, first: int, ahead: int
) -> None:
    last = on(first + ahead)
    found = dict(books(past_of(events, product), on(first), last))
    book = found[on(first)]
    for day in days_between(on(first), last):
        book = found.get(day, book)
        alone = fold(events, product, day)
        kept = ("rows", "charges", "debts", "credit", "original", "written_off_on", "closed_on", "pauses", "resumes", "known")
        assert {name: getattr(book, name) for name in kept} == {name: getattr(alone, name) for name in kept}


def test_a_payment_dated_back_tells_the_days_since_then_otherwise() -> None:
    paid = repaid(12, 300, 1, recorded=15)
    assert compared([LOAN], [LOAN, paid], DEFAULT, first=on(11), today=on(15)) == (Otherwise(on(12), None, owed=False),)


def test_a_payment_of_today_tells_nothing_otherwise() -> None:
    assert compared([LOAN], [LOAN, repaid(15, 300, 1)], DEFAULT, first=on(11), today=on(15)) == ()


def test_a_payment_whose_day_was_wrong_tells_only_the_days_between_otherwise() -> None:
    wrong, right = repaid(15, 300, 1, recorded=15), repaid(12, 300, 2, recorded=15)
    undone = RepaymentReversed(place(16, 3), "r1")
    found = compared([LOAN, wrong], [LOAN, wrong, undone, right], DEFAULT, first=on(11), today=on(18))
    assert found == (Otherwise(on(12), on(15), owed=False),)


def test_a_payment_dated_behind_its_chargeback_is_told_from_its_own_day() -> None:
    """The chargeback counts from the day on which there is something to charge back, and then in its own place."""
    charged, paid = ChargedBack(place(12, 1), "cb1", "r2", 300, on(12)), repaid(14, 300, 2, recorded=11)
    history = dict(books(past_of([LOAN, charged, paid], DEFAULT), on(11), on(16)))
    assert history[on(14)].debts == fold([LOAN, charged, paid], DEFAULT, on(14)).debts != ()


def test_what_was_said_on_no_day_before_is_not_told_otherwise() -> None:
    paid = repaid(12, 100, 1, recorded=15)
    assert compared([LOAN], [LOAN, paid], DEFAULT, first=on(15), today=on(15)) == ()
    assert compared([LOAN], [LOAN, paid], DEFAULT, first=on(14), today=on(15)) == (Otherwise(on(14), None, owed=True),)


def test_another_product_line_may_tell_every_day_otherwise() -> None:
    tolerant = replace(DEFAULT, tolerance=replace(DEFAULT.tolerance, amount=400))
    assert parted_on(past_of([LOAN], DEFAULT), past_of([LOAN], tolerant)) == date.min
