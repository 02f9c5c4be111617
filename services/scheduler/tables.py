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
    Column("wake_at", _moment),
    Column("case_loan", Text, nullable=False),
)
"""Every debt, and which of its facts is the newest; the fact itself is stored once, in `debt_facts`. `wake_at` is when its next reminder is
due, even before there is a case; `case_loan` is the loan whose case it is in: its own, or empty for the borrower's."""

cases = Table(
    "cases",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("assignment", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("loan_id", Text, nullable=False),
    Column("chosen_in", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("passed", Text, nullable=False),
    Column("flagged", Text, nullable=False),
    Column("nonpayment_reason", Text),
    Column("acted", Text, nullable=False),
    Column("handed_to", Text),
    Column("handed_at", _moment),
    Column("trial", Text),
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
    Column("covered_until", _moment),
)
"""A case and what its last plan said: when to plan it again, the next contact, and why nothing is sent now."""

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
    Column("done_at", _moment),
    Column("corrected_at", _moment),
    Column("corrected_from", Date),
    Column("groundless", Boolean, nullable=False),
    Column("purpose", Text, nullable=False),
)
"""Requested contacts: the facts they are based on, their last outcome, and whether those facts were corrected later."""

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
"""Facts that correct past days."""

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
"""A case's timeline, append-only; within a case `at` never decreases."""

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
    Column("priority", Integer, nullable=False),
    Column("claimed_until", _moment),
    Column("result", Text),
    Column("breached_at", _moment),
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
"""Stops of borrowers; a closed one is kept so that an older value arriving late is recognised."""

watermarks = Table(
    "watermarks",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("until", _moment, nullable=False),
    Column("stale_feeds", ARRAY(Text), nullable=False),
)
"""Up to when each partition of the topics from ingest is complete."""

policy_chains = Table(
    "policy_chains",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("chain", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""The last link of each chain of changes; whoever changes a policy locks its row."""

policy_audit = Table(
    "policy_audit",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("chain", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", _moment, nullable=False),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("version", Integer),
    Column("detail", LargeBinary, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""Every change to a policy, append-only; `hash` covers `previous` and the row."""

policy_versions = Table(
    "policy_versions",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("writers", ARRAY(Text), nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("changed_at", _moment, nullable=False),
    Column("submitted_by", Text),
    Column("submitted_at", _moment),
    Column("decided_by", Text),
    Column("decided_at", _moment),
    Column("comment", Text),
    Column("retired_at", _moment),
    Column("simulation_id", Text),
    Column("simulation_hash", Text),
)
"""Versions: `source` as written, `document` its content as JSON; neither changes after submission."""

policy_activations = Table(
    "policy_activations",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("effective_at", _moment, nullable=False),
    Column("in_flight", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", _moment, nullable=False),
)
"""Which version of a policy is active from when; the latest one that has taken effect applies."""

assignments = Table(
    "assignments",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("items", LargeBinary, nullable=False),
    Column("at", _moment, nullable=False),
    Column("by", Text, nullable=False),
)
"""Which policy applies to which debts, in order."""

policy_changes = Table(
    "policy_changes",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("change_id", Text, primary_key=True),
    Column("effective_at", _moment, nullable=False),
    Column("wakes", Boolean, nullable=False),
    Column("after_borrower", Text, nullable=False),
    Column("after_loan", Text, nullable=False),
)
"""Changes not yet applied to every debt of the tenant, and how far they have come."""

approvals = Table(
    "approvals",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("spell", Integer, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("approved", Boolean, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", _moment, nullable=False),
    Column("reason", Text),
    Column("exhibits", LargeBinary, nullable=False),
)
"""A person's decision on a step, once per spell; `exhibits` are the documents attached at that moment."""

exhibits = Table(
    "exhibits",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("spell", Integer, primary_key=True),
    Column("document", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", _moment, nullable=False),
)
"""Documents people have attached by reference and hash, append-only."""

offers = Table(
    "offers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("offer_id", Text, primary_key=True),
    Column("spell", Integer, nullable=False),
    Column("step", Text),
    Column("state", Text, nullable=False),
    Column("terms", LargeBinary, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", _moment, nullable=False),
    Column("expires_at", _moment, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", _moment),
    Column("approved_by", Text),
    Column("taken", LargeBinary),
    Column("reason", Text),
)
"""Offers: `terms` are their limits, `taken` what the borrower chose within them."""
