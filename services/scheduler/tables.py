"""The tables of schema `scheduler`; the statements that use them are in store/."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from libs.common.db.base import base_tables

SCHEMA = "scheduler"
metadata = MetaData(schema=SCHEMA)
base_tables(metadata)
_moment = DateTime(timezone=True)

debts = Table(
    "debts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("loan_id", Text, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("fact_at", _moment, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("owed", Boolean, nullable=False),
    Column("fact", LargeBinary, nullable=False),
    Column("wake_at", _moment),
)
"""The newest fact of every debt; `wake_at` is when a reminder is to be said although no case may stand yet."""

cases = Table(
    "cases",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("assignment", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("spell", Integer, nullable=False),
    Column("opened_at", _moment),
    Column("clear_since", _moment),
    Column("unsettled_since", _moment),
    Column("rests_until", _moment),
    Column("newest_fact_at", _moment),
    Column("next_at", _moment),
    Column("contact_at", _moment),
    Column("contact_step", Text),
    Column("reason", Text),
    Column("reason_until", _moment),
    Column("reason_event", Text),
    Column("reason_task", Text),
    Column("in_doubt", Text),
    Column("moved_at", _moment),
)
"""A case and what its last plan said: when to look again, the next contact, and why nothing is said now."""

case_steps = Table(
    "case_steps",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("spell", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("about", Date),
    Column("occurrence", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", _moment, nullable=False),
    Column("expires_at", _moment, nullable=False),
    Column("until", _moment),
    Column("channel", Text),
    Column("reason", Text),
    Column("sequence", BigInteger, nullable=False),
    Column("debts", LargeBinary, nullable=False),
    Column("made_at", _moment),
    Column("corrected_at", _moment),
    Column("corrected_from", Date),
    Column("groundless", Boolean, nullable=False),
)
"""What was asked for on which facts, the last outcome of it, and whether those facts were corrected after it was made."""

corrections = Table(
    "corrections",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("loan_id", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("timezone", Text, nullable=False),
    Column("said_at", _moment, nullable=False),
    Column("caused_by", Text),
    Column("days", Text, nullable=False),
)
"""Facts that tell past days otherwise than those before them."""

timeline = Table(
    "timeline",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", _moment, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text),
    Column("detail", LargeBinary, nullable=False),
)
"""A case's story, only ever added to; within a case `at` never falls."""

tasks = Table(
    "tasks",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("spell", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("occurrence", Integer, nullable=False),
    Column("queue", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("due_at", _moment, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_at", _moment),
    Column("done_by", Text),
    Column("done_at", _moment),
    Column("note", Text),
)
"""Work for people."""

statuses = Table(
    "statuses",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("status_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("from_at", _moment, nullable=False),
    Column("until", _moment),
    Column("stands", Boolean, nullable=False),
    Column("time", _moment, nullable=False),
    Column("event_id", Text, nullable=False),
)
"""Stops of borrowers; a closed one stays as the mark that an older value comes too late."""

watermarks = Table(
    "watermarks",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("until", _moment, nullable=False),
    Column("stale_feeds", ARRAY(Text), nullable=False),
)
"""Up to when a partition of the topics from ingest is complete."""
