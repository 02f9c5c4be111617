"""The tables of schema `ingest`; the statements that use them are in store/."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, LargeBinary, MetaData, Table, Text

from libs.common.contracts.catalogue import group_of
from libs.common.db.base import base_tables

SCHEMA = "ingest"
GROUP = group_of(SCHEMA)
"""The consumer group whose positions are in this schema."""
metadata = MetaData(schema=SCHEMA)
base_tables(metadata)
_moment = DateTime(timezone=True)

loans = Table(
    "loans",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("loan_id", Text, primary_key=True),
    Column("known", Boolean, nullable=False),
    Column("borrower_id", Text),
    Column("product", Text),
    Column("product_version", Integer),
    Column("currency", Text),
    Column("timezone", Text),
    Column("records", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("parked", Integer, nullable=False),
    Column("doubt_since", _moment),
    Column("fold_error", Text),
    Column("book", LargeBinary),
    Column("fold", Integer, nullable=False),
    Column("settings", LargeBinary),
    Column("status", Text),
    Column("anchor_on", Date),
    Column("bucket", Text),
    Column("overdue_total", BigInteger, nullable=False),
    Column("outstanding_total", BigInteger, nullable=False),
    Column("phase", Text),
    Column("published", Boolean, nullable=False),
    Column("said_on", Date),
    Column("next_at", _moment),
)
"""A loan: a stub until its disbursement is known; `book` is the fold of its events, the other columns are for queries."""

events = Table(
    "events",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("loan_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("time", _moment, nullable=False),
    Column("business_key", Text),
    Column("data", LargeBinary, nullable=False),
    Column("product_version", Integer),
    Column("received_at", _moment, nullable=False),
)
"""The accepted events of loans: the source of truth; nothing here ever changes except which event holds a key."""

repeats = Table(
    "repeats",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("loan_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("time", _moment, nullable=False),
    Column("business_key", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("received_at", _moment, nullable=False),
)
"""Events that repeat an accepted one under another id: one of them counts once that one is retracted."""

borrower_loans = Table(
    "borrower_loans",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("loan_id", Text, primary_key=True),
)

borrowers = Table(
    "borrowers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("public_key", LargeBinary),
    Column("wrapped_key", LargeBinary),
    Column("erased_at", _moment),
)

borrower_events = Table(
    "borrower_events",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("time", _moment, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("received_at", _moment, nullable=False),
)
"""The accepted events about borrowers, personal parts sealed; `digest` is a keyed hash of the content, to recognise repeats."""

borrower_values = Table(
    "borrower_values",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("what", Text, primary_key=True),
    Column("time", _moment, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("value", LargeBinary),
)
"""For each part of a borrower, the value with the greatest (time, event id)."""

parked = Table(
    "parked",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("parked_id", Text, primary_key=True),
    Column("loan_id", Text),
    Column("borrower_id", Text),
    Column("topic", Text, nullable=False),
    Column("event", LargeBinary, nullable=False),
    Column("error", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", _moment, nullable=False),
    Column("resolved_at", _moment),
    Column("decision", Text),
    Column("decided_by", Text),
    Column("decision_reason", Text),
)

products = Table(
    "products",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("settings", LargeBinary, nullable=False),
    Column("created_at", _moment, nullable=False),
)

feeds = Table(
    "feeds",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("every_s", Integer, nullable=False),
    Column("said_at", _moment, nullable=False),
    Column("heard_at", _moment, nullable=False),
    Column("retired_at", _moment),
    Column("retired_by", Text),
    Column("retired_reason", Text),
)
"""Sources that have sent heartbeats; `said_at` is the publisher's moment of the promise `every_s`, `heard_at` when the newest came."""
