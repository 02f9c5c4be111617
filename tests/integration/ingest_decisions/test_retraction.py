"""A retraction equals never having been sent: also of the event that made the loan."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.store import loans
from tests.integration.ingest_decisions.books import Books
from tests.support.wallet import Event, event, instalment, loan, repayment


def retraction(of: Event) -> Event:
    made = event("event.retracted", loan_id=of["data"]["loan_id"])
    made["data"]["event_id"] = of["id"]
    return made


async def test_a_loan_whose_only_disbursement_is_retracted_is_closed_for_all_who_heard_of_it(engine: AsyncEngine) -> None:
    books, made = Books(engine), loan("L1")
    await books.commit(made)
    await books.commit(retraction(made))
    first, last = await books.said("L1")
    assert (first.type, last.type) == ("debt.overdue.v1", "debt.closed.v1")
    assert (last.fact.status, last.fact.overdue.total, last.fact.outstanding.total, last.fact.anchor) == ("closed", 0, 0, None)
    assert (last.fact.borrower_id, last.partition, last.fact.version) == (first.fact.borrower_id, first.partition, 2)
    [row] = await books.rows("select known, overdue_total, outstanding_total, anchor_on, next_at from ingest.loans")
    assert tuple(row) == (False, 0, 0, None, None)


async def test_a_loan_that_is_disbursed_again_after_its_retraction_is_overdue_again(engine: AsyncEngine) -> None:
    books, made = Books(engine), loan("L1")
    await books.commit(made)
    await books.commit(retraction(made))
    await books.commit(loan("L1"))
    assert [said.type for said in await books.said("L1")] == ["debt.overdue.v1", "debt.closed.v1", "debt.overdue.v1"]


async def test_nothing_is_said_of_a_loan_that_nobody_has_heard_of(engine: AsyncEngine) -> None:
    books, made = Books(engine), loan("L1")
    await books.commit(retraction(made))
    await books.commit(made)
    assert await books.said() == []


async def test_the_zone_is_that_of_the_disbursement_that_is_left(engine: AsyncEngine) -> None:
    """In Kiritimati it is tomorrow already: what is due today there is overdue, here it is not."""
    books = Books(engine)
    due_today = instalment(1, 0)
    wrong = loan("L1", due_today, borrower_id="b1")
    wrong["data"]["timezone"] = "Pacific/Kiritimati"
    right = loan("L1", due_today, borrower_id="b1")
    await books.commit(wrong)
    await books.commit(right, retraction(wrong))
    [*_, last] = await books.said("L1")
    assert (last.fact.timezone, last.fact.overdue.total, last.fact.as_of.isoformat()) == (
        "Etc/GMT",
        0,
        books.clock.now().date().isoformat(),
    )


async def test_a_loan_that_another_disbursement_makes_is_found_with_the_borrower_that_one_names(engine: AsyncEngine) -> None:
    books, wrong = Books(engine), loan("L1", borrower_id="B1")
    await books.commit(wrong)
    await books.commit(retraction(wrong))
    await books.commit(loan("L1", borrower_id="B2"))
    await books.commit(repayment("L1", 1000))
    async with engine.connect() as conn:
        found = {
            borrower: [row.loan_id for row in await loans.of_borrower(conn, "default", borrower, after="", limit=9)]
            for borrower in ("B1", "B2")
        }
    assert found == {"B1": [], "B2": ["L1"]}
