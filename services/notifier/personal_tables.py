"""The tables of schema `notifier` that hold only personal data: wishes, addresses by their hash, and who read what."""

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
"""What a borrower asked for; the newest version applies, older ones are the audit trail. `reason` is free text, removed by an erasure."""

addresses = Table(
    "addresses",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("lookup", Text, primary_key=True),
)
"""Whose address a keyed hash is; removed with the profile that named it."""

contact_numbers = Table(
    "contact_numbers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("borrower_id", Text, primary_key=True),
    Column("contact_id", Text, primary_key=True),
    Column("lookup", Text, primary_key=True),
)
"""The addresses a contact may have gone to, when nobody has said which: it counts for each of them."""

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
"""Contacts with the addresses of erased owners, without the owner: caps over numbers count these for as long as they count any."""

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
"""Who was shown personal data, whose, what, when and why; without a borrower, nobody was found."""
