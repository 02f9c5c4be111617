"""The tables of schema `notifier` that are about persons alone: wishes, addresses by their hash, and who has read what."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Identity, Integer, LargeBinary, Table, Text

from services.notifier.tables import metadata

_moment = DateTime(timezone=True)

preferences = Table(
    "preferences",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("wishes", LargeBinary, nullable=False),
    Column("reason", Text),
    Column("by", Text, nullable=False),
    Column("at", _moment, nullable=False),
)
"""What a borrower asked for; the newest version holds, the others are the audit. `reason` is free text and goes with an erasure."""

addresses = Table(
    "addresses",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("lookup", Text, primary_key=True),
)
"""Whose address a keyed hash is of; gone with the profile that named it."""

contact_numbers = Table(
    "contact_numbers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("contact_id", Text, primary_key=True),
    Column("lookup", Text, primary_key=True),
)
"""The addresses to one of which a contact went, where nobody has said to which: it counts over each of them."""

nameless_contacts = Table(
    "nameless_contacts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("lookup", Text, nullable=False),
    Column("at", _moment, nullable=False),
    Column("channel", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("kind", Text),
)
"""Contacts with the addresses of owners who were erased, without whose they were: what caps over numbers count, as long as they do."""

pii_reads = Table(
    "pii_reads",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("borrower_id", Text),
    Column("what", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text),
    Column("at", _moment, nullable=False),
)
"""Who was shown personal data, of whom, by what, when and why; without a borrower nobody was found."""
