"""Tables that simulations read and write, besides those in tables.py."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, LargeBinary, Table, Text

from services.scheduler.tables import metadata

_moment = DateTime(timezone=True)

debt_facts = Table(
    "debt_facts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("loan_id", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("as_of", Date, primary_key=True),
    Column("known_at", _moment, nullable=False),
    Column("fact", LargeBinary, nullable=False),
    Column("currency", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("overdue", BigInteger, nullable=False),
    Column("outstanding", BigInteger, nullable=False),
    Column("past_due_from", Date),
)
"""Every fact that was once its debt's newest, since when it was known here, and what reports use of it; append-only."""

fact_walks = Table(
    "fact_walks",
    metadata,
    Column("one", Boolean, primary_key=True),
    Column("before", _moment, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("borrower_id", Text, nullable=False),
    Column("loan_id", Text, nullable=False),
)
"""One row: the moment before which superseded facts may have been deleted, and how far the deleting walk has come."""

reach = Table(
    "reach",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("what", Text, primary_key=True),
    Column("time", _moment, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("value", LargeBinary),
    Column("segment", Text),
)
"""What the gate needs to know about a borrower, by topic key (`profile`, `consent:...`, `contact:...`); no address and no name."""

segment_changes = Table(
    "segment_changes",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("at", _moment, nullable=False),
)
"""Borrowers with a changed segment that has not been applied to their debts yet."""

simulations = Table(
    "simulations",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("simulation_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("version", Integer),
    Column("document", LargeBinary, nullable=False),
    Column("document_hash", Text, nullable=False),
    Column("asked", LargeBinary, nullable=False),
    Column("by", Text, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("started_at", _moment),
    Column("seen_at", _moment),
    Column("ended_at", _moment),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("reason", Text),
    Column("result", LargeBinary),
    Column("hash", Text),
)
"""Requested simulations, their progress and result."""

case_counts = Table(
    "case_counts",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
)
"""How many overdue cases have which reason, as a sum over append-only rows; the watcher folds them."""
