"""The tables of replies, and of what replies and receipts suppress; the statements that use them are in store/."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY


def reply_tables(metadata: MetaData) -> None:
    """Declare them in the notifier's metadata.

    `suppressions`: who must not be contacted, and since when; a lifted one stays, with who lifted it and why. Without a borrower it holds
    for whoever has the address. `replies`: every incoming message, once, its text sealed; `callback` is the request that brought it.
    """
    moment = DateTime(timezone=True)
    Table(
        "suppressions",
        metadata,
        Column("tenant", Text, primary_key=True),
        Column("id", Text, primary_key=True),
        Column("borrower_id", Text, nullable=False),
        Column("channel", Text, nullable=False),
        Column("lookup", Text, nullable=False),
        Column("ground", Text, nullable=False),
        Column("since", moment, nullable=False),
        Column("source", Text, nullable=False),
        Column("provider", Text),
        Column("task_id", Text),
        Column("lifted_at", moment),
        Column("lifted_by", Text),
        Column("lifted_why", Text),
    )
    Table(
        "replies",
        metadata,
        Column("tenant", Text, primary_key=True),
        Column("provider", Text, primary_key=True),
        Column("id", LargeBinary, primary_key=True),
        Column("channel", Text, nullable=False),
        Column("lookup", Text, nullable=False),
        Column("borrowers", ARRAY(Text), nullable=False),
        Column("wishes", ARRAY(Text), nullable=False),
        Column("signed", Boolean, nullable=False),
        Column("at", moment),
        Column("received_at", moment, nullable=False),
        Column("callback", BigInteger),
        Column("sealed", LargeBinary),
    )
