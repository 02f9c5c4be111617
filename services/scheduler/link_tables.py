"""Tables of links to the borrower's page; the statements that use them are in store/."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from services.scheduler.tables import metadata

_moment = DateTime(timezone=True)

borrower_links = Table(
    "borrower_links",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("borrower_id", Text, nullable=False),
    Column("link_id", Text, nullable=False),
    Column("case_ids", ARRAY(Text), nullable=False),
    Column("spells", ARRAY(Integer), nullable=False),
    Column("made_at", _moment, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("expires_at", _moment, nullable=False),
    Column("revoked_at", _moment),
    Column("revoked_by", Text),
    Column("tries", Integer, nullable=False),
    Column("visit_hash", LargeBinary),
    Column("visit_until", _moment),
    Column("acts", Integer, nullable=False),
    Column("acts_since", _moment),
    Column("task_id", Text),
)
"""Links by the hash of their token; one of the spells (`case_ids`, `spells`) must be running; `task_id` if a message carried it."""

link_tries = Table(
    "link_tries",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("tried_at", _moment, nullable=False),
)
"""Consecutive wrong tries through links in messages."""

page_answers = Table(
    "page_answers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("answer_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("spell", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("said", Text, nullable=False),
    Column("step", Text),
    Column("task_id", Text),
    Column("at", _moment, nullable=False),
)
"""Answers given on the page: `wishes` as JSON, a `feeling` as its word, with the step whose message led there."""
