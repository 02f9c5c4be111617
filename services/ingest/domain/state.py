"""A loan's public state, in the shape of the API; `doubt`, `version` and `events` are added by the shell."""

from datetime import date

from services.ingest.domain.events import Parts
from services.ingest.domain.fold import Movement, Trace
from services.ingest.domain.view import ChargeRow, LoanView, ScheduleRow, view


def public_state(trace: Trace, as_of: date) -> dict[str, object]:
    """Return the state on a day as plain values: dates as text, amounts as integers."""
    shown = view(trace.book, as_of)
    return {
        **headline(shown),
        "schedule": [_schedule_row(row) for row in shown.schedule],
        "movements": [_movement(one) for one in trace.movements],
        "charges": [charge(row) for row in shown.charges],
    }


def headline(shown: LoanView) -> dict[str, object]:
    """Return what the state says about the loan as a whole."""
    book = shown.book
    return {
        "borrower_id": book.borrower_id,
        "product": book.product,
        "currency": book.currency,
        "timezone": book.timezone,
        "jurisdictions": list(book.jurisdictions),
        "as_of": shown.as_of.isoformat(),
        "status": shown.status.value,
        "outstanding": parts(shown.outstanding),
        "overdue": parts(shown.overdue),
        "credit": shown.credit,
        "grace_days": book.terms.grace_days,
        **_ages(shown),
        "ignored": [{"event": one.event, "why": one.why} for one in shown.ignored],
    }


def _ages(shown: LoanView) -> dict[str, object]:
    anchor, ahead = shown.anchor, shown.next_due
    return {
        "anchor": None if anchor is None else {"n": anchor.n, "due_on": anchor.due_on.isoformat()},
        "past_due_days": shown.past_due_days,
        "delinquent_from": _text(shown.delinquent_from),
        "paused_days": shown.paused_days,
        "delinquent_days": shown.delinquent_days,
        "bucket": shown.bucket,
        "aged": [{"bucket": one.bucket, "amount": one.amount} for one in shown.aged],
        "next_due": None if ahead is None else {"n": ahead.n, "due_on": ahead.due_on.isoformat(), "total": ahead.total},
        "pauses": [{"from": begin.isoformat(), "until": _text(end)} for begin, end in shown.pauses],
        "dpd_original_from": _text(shown.dpd_original_from),
    }


def parts(amounts: Parts) -> dict[str, int]:
    """Return an amount by component, with the total."""
    return {
        "principal": amounts.principal,
        "interest": amounts.interest,
        "fee": amounts.fee,
        "penalty": amounts.penalty,
        "total": amounts.total,
    }


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _schedule_row(row: ScheduleRow) -> dict[str, object]:
    return {
        "n": row.n,
        "due_on": row.due_on.isoformat(),
        "down_payment": row.down_payment,
        "due": parts(row.due),
        "paid": {"total": row.paid.total, "in_advance": row.in_advance, "late": row.late},
        "waived": parts(row.waived),
        "outstanding": parts(row.outstanding),
        "met_on": _text(row.met_on),
    }


def _movement(one: Movement) -> dict[str, object]:
    return {
        "id": one.id,
        "kind": one.kind,
        "on": one.on.isoformat(),
        "amount": one.amount,
        "principal": one.principal,
        "interest": one.interest,
        "fee": one.fee,
        "penalty": one.penalty,
        "credit": one.credit,
        "explicit": one.explicit,
        "reversed": one.reversed,
    }


def charge(row: ChargeRow) -> dict[str, object]:
    """Return a charge as it is shown."""
    return {
        "charge_id": row.charge_id,
        "kind": row.kind.value,
        "due_on": row.due_on.isoformat(),
        "amount": row.amount,
        "paid": row.paid,
        "waived": row.waived,
        "outstanding": row.outstanding,
    }
