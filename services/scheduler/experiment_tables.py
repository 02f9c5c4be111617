"""Tables of experiments; the statements that use them are in store/."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Integer, Table, Text

from services.scheduler.tables import metadata

_moment = DateTime(timezone=True)

experiments = Table(
    "experiments",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("policy", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("challenger", Text, nullable=False),
    Column("began_at", _moment, nullable=False),
    Column("stopped_at", _moment),
    Column("guardrail", Text),
)
"""Started experiments by the champion's version, with the guardrail that stopped one; a stopped experiment stays stopped."""

trials = Table(
    "trials",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("spell", Integer, primary_key=True),
    Column("policy", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("arm", Text, nullable=False),
    Column("began_at", _moment, nullable=False),
)
"""Spells that are part of an experiment; append-only."""
