"""A stored book asked about another day, and text that a spreadsheet would execute."""

import csv
import io
from datetime import date

from hypothesis import event, given, settings
from hypothesis import strategies as st

from libs.common.tabular import csv_rows
from services.ingest.domain.events import LoanEvent
from services.ingest.domain.fold import fold
from services.ingest.domain.product import ProductLine
from services.ingest.reporting import line_of, tells_of
from services.ingest.store.loans import LoanRow
from tests.unit.ingest_domain.loans import LAST, event_sets, on, products

ROW = LoanRow("default", "L1")


@settings(deadline=None, max_examples=400)
@given(events=event_sets(most=6), product=products(), folded_on=st.integers(0, LAST + 10), asked=st.integers(-5, LAST + 30))
def test_a_stored_book_that_tells_of_a_day_gives_the_line_that_a_fold_to_that_day_gives(
    events: list[LoanEvent], product: ProductLine, folded_on: int, asked: int
) -> None:
    book, day = fold(events, product, on(folded_on)), on(asked)
    if tells_of(book, day):
        line = line_of(ROW, book, day)
        event(f"{'earlier' if asked < folded_on else 'later'}, {'overdue' if line else 'nothing overdue'}")
        assert line == line_of(ROW, fold(events, product, day), day)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), min_size=2, max_size=5))
def test_no_cell_begins_like_a_formula_and_every_other_text_comes_back_as_it_was(texts: list[str]) -> None:
    [row] = csv.reader(io.StringIO(csv_rows([texts]).decode(), newline=""))
    assert len(row) == len(texts)
    for cell, given_text in zip(row, texts, strict=True):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert cell in (given_text, f"'{given_text}")


def test_numbers_below_zero_days_truths_and_nothing_are_written_plainly() -> None:
    assert csv_rows([(-5, date(2026, 11, 1), True, None, "-5", ["a"])]) == b'-5,2026-11-01,true,,\'-5,"[""a""]"\r\n'
