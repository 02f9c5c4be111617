"""Tables of champions and challengers; the statements that use them are in store/."""

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
"""Experiments that have begun, by the champion's version, and the guardrail that has stopped one; stopped once is stopped for good."""

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
"""Spells that are part of an experiment; only ever added to."""
