"""Tables of what borrowers and staff have agreed or raised; the statements that use them are in store/."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, DateTime, Integer, LargeBinary, Table, Text

from services.scheduler.tables import metadata

_moment = DateTime(timezone=True)

holds = Table(
    "holds",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("hold_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("stop", Text, nullable=False),
    Column("contacts", Text, nullable=False),
    Column("loan_id", Text),
    Column("channel", Text),
    Column("from_at", _moment, nullable=False),
    Column("until", _moment),
    Column("ends_with", Text),
    Column("source", Text),
    Column("matter", Text),
    Column("paused", Text, nullable=False),
    Column("reason", Text),
    Column("set_by", Text, nullable=False),
    Column("set_at", _moment, nullable=False),
    Column("ended_at", _moment),
    Column("ended_by", Text),
    Column("end_reason", Text),
)
"""Holds; `paused` lists (separated by spaces) the loans whose overdue clock is paused with it."""

promises = Table(
    "promises",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("promise_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("spell", Integer, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("tolerated", BigInteger, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("until", _moment, nullable=False),
    Column("made_at", _moment, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("channel", Text),
    Column("note", Text),
    Column("state", Text, nullable=False),
    Column("paid", BigInteger, nullable=False),
    Column("decided_at", _moment),
)
"""Promises to pay."""

promise_debts = Table(
    "promise_debts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("promise_id", Text, primary_key=True),
    Column("loan_id", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
)
"""The debts a promise covers, and what each had received when it was made."""

matters = Table(
    "matters",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("matter_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("loan_id", Text),
    Column("line", Text),
    Column("channel", Text),
    Column("note", Text),
    Column("state", Text, nullable=False),
    Column("opened_at", _moment, nullable=False),
    Column("opened_by", Text, nullable=False),
    Column("outcome", Text),
    Column("answer", Text),
    Column("resolved_at", _moment),
    Column("resolved_by", Text),
)
"""Disputes, complaints, hardship and wrong numbers, and how each was resolved."""

recorded_contacts = Table(
    "recorded_contacts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("contact_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("spell", Integer, nullable=False),
    Column("channel", Text, nullable=False),
    Column("at", _moment, nullable=False),
    Column("result", Text, nullable=False),
    Column("loan_id", Text),
    Column("task_id", Text),
    Column("by", Text, nullable=False),
    Column("note", Text),
    Column("recorded_at", _moment, nullable=False),
)
"""Calls, visits and letters made by people."""

hold_batches = Table(
    "hold_batches",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("batch_id", Text, primary_key=True),
    Column("asked", LargeBinary, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", _moment, nullable=False),
    Column("number", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("after_borrower", Text, nullable=False),
    Column("after_case", Text, nullable=False),
    Column("ended_at", _moment),
)
"""Bulk holds and their progress."""
