"""Loans that fall due at one moment: a few real ones, ingested by the ledger a day ago and then copied by SQL under other ids."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import asyncpg

from libs.common.clock import DrivenClock, WallClock
from libs.common.cloudevents import Writer
from libs.common.db.engine import make_engine
from libs.common.outbox import Outbox
from services.ingest import decoding
from services.ingest.decoding import WalletEvent
from services.ingest.ledger import SOURCE, Arrival, Ledger
from services.ingest.store.products import ProductBook
from services.ingest.tables import SCHEMA, loans
from tests.bench.events import INSTALMENTS, PARTITIONS, TENANT, Sent, disbursed, repaid
from tests.bench.ingest import one_row, require

PREFIX = "T"
ZONE = ZoneInfo("Europe/Berlin")
_SHAPES = INSTALMENTS
_COPIED = [column.name for column in loans.c if column.name not in ("loan_id", "borrower_id", "book")]
_COPY = (
    f"insert into ingest.loans (loan_id, borrower_id, book, {', '.join(_COPIED)})"
    " select replace(l.loan_id, right(l.loan_id, 7), n.name), replace(l.borrower_id, right(l.borrower_id, 7), n.name),"
    " decode(replace(encode(l.book, 'hex'), encode(convert_to(l.borrower_id, 'utf8'), 'hex'),"
    " encode(convert_to(replace(l.borrower_id, right(l.borrower_id, 7), n.name), 'utf8'), 'hex')), 'hex'),"
    f" {', '.join('l.' + name for name in _COPIED)}"
    f" from (select number, lpad(number::text, 7, '0') as name from generate_series({_SHAPES}, $1::int - 1) as s(number)) n"
    f" join ingest.loans l on l.loan_id = '{PREFIX}' || lpad((n.number % {_SHAPES})::text, 7, '0')"
)
"""A book names its borrower: the copy's name has the same length, so that the surrounding bytes stay valid."""


async def seed(url: str, number: int) -> None:
    """Put so many loans into an empty ledger, all overdue since the last midnight; nothing is left to publish."""
    yesterday = datetime.combine(WallClock().now().astimezone(ZONE).date() - timedelta(days=1), time(12), ZONE).astimezone(UTC)
    await _take_in(url, [sent for shape in range(_SHAPES) for sent in _history(shape, yesterday)], yesterday)
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(_COPY, number, timeout=None)
        await conn.execute("truncate ingest.outbox, ingest.events")
        await conn.execute("vacuum analyze ingest.loans", timeout=None)
    finally:
        await conn.close()


async def check(url: str, number: int) -> None:
    """Check that all of them are overdue and wait for their next day."""
    found = await one_row(
        url,
        "select count(*) filter (where next_at <= now() or next_at is null), count(*) filter (where overdue_total > 0),"
        f" count(*) filter (where phase = 'overdue') from ingest.loans where loan_id like '{PREFIX}%'",
    )
    require("the loans that fell due", tuple(found), (0, number, number))


def _history(shape: int, yesterday: datetime) -> list[Sent]:
    """Return a loan that has been paid up to the instalment that falls due on that day."""
    loan_id = f"{PREFIX}{shape:07d}"
    made = disbursed(loan_id, 0, yesterday)
    rows = made.data["schedule"]
    for at, row in enumerate(rows):
        row["due_on"] = (yesterday + timedelta(days=30 * (at - shape))).date().isoformat()
    owed = sum(row["principal"] + row["interest"] for row in rows[:shape])
    paid = repaid(loan_id, 0, yesterday)
    paid.data["amount"] = owed
    return [made, paid] if owed else [made]


async def _take_in(url: str, events: list[Sent], now: datetime) -> None:
    engine = make_engine(url, application="bench")
    ledger = Ledger(DrivenClock(now), Outbox(SCHEMA), Writer(SOURCE, PARTITIONS), ProductBook())
    try:
        async with engine.begin() as conn:
            await ledger.take(conn, [_arrival(sent, now) for sent in events])
    finally:
        await engine.dispose()


def _arrival(sent: Sent, now: datetime) -> Arrival:
    event = decoding.structured(sent.structured)
    if not isinstance(event, WalletEvent):
        raise SystemExit(f"bench: the ledger would refuse its event: {event.detail}")
    return Arrival(TENANT, "bench", event, now)
