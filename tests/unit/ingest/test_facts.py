"""What a loan's fact depends on."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.events import RepaymentPending
from services.ingest.domain.fold import fold
from services.ingest.domain.product import DEFAULT
from services.ingest.facts import fact_of, standing
from services.ingest.reading import midnight_of
from tests.unit.ingest_domain.loans import LOAN, on, place

MINUTES = st.integers(0, 24 * 60 - 1)


@given(under_way_until=MINUTES, asked=st.tuples(MINUTES, MINUTES))
def test_the_same_records_on_the_same_date_give_the_same_fact_at_every_hour(under_way_until: int, asked: tuple[int, int]) -> None:
    begins = midnight_of(on(14), "Asia/Shanghai")
    pending = RepaymentPending(place(12, 1), "r", 300, begins + timedelta(minutes=under_way_until))
    book = fold([LOAN, pending], DEFAULT, on(14))
    first, second = (
        fact_of(book, standing(book, begins + timedelta(minutes=minutes)), loan_id="L", epoch=1, version=2) for minutes in asked
    )
    assert first == second
