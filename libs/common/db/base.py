"""The tables that every service has in its own schema: positions, outbox, keys, and where its database was."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY


def base_tables(metadata: MetaData) -> None:
    """Declare them in a service's metadata."""
    moment = DateTime(timezone=True)
    Table(
        "positions",
        metadata,
        Column("grp", Text, primary_key=True),
        Column("topic", Text, primary_key=True),
        Column("partition", Integer, primary_key=True),
        Column("next_offset", BigInteger, nullable=False),
        Column("record_at", moment),
        Column("caught_up_at", moment),
    )
    Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True, cache=1), primary_key=True),
        Column("messages", Integer, nullable=False),
        Column("bundle", LargeBinary, nullable=False),
        Column("created_at", moment, nullable=False),
    )
    Table(
        "api_keys",
        metadata,
        Column("key_hash", LargeBinary, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("person", Text),
        Column("scopes", ARRAY(Text), nullable=False),
        Column("loopback_only", Boolean, nullable=False),
        Column("created_at", moment, nullable=False),
        Column("expires_at", moment),
    )
    Table(
        "lineage",
        metadata,
        Column("one", Boolean, primary_key=True),
        Column("system_identifier", Text, nullable=False),
        Column("timeline", Integer, nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("since", moment, nullable=False),
    )


BASE_0001 = """
create table {schema}.positions (
    grp text not null, topic text not null, partition integer not null,
    next_offset bigint not null, record_at timestamptz, caught_up_at timestamptz,
    primary key (grp, topic, partition)
) with (fillfactor = 70);
create table {schema}.outbox (
    id bigint generated always as identity (cache 1) primary key,
    messages integer not null, bundle bytea not null, created_at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
alter table {schema}.outbox alter column bundle set storage external;
create table {schema}.api_keys (
    key_hash bytea primary key, tenant text not null, person text, scopes text[] not null,
    loopback_only boolean not null default false,
    created_at timestamptz not null default clock_timestamp(), expires_at timestamptz
);
create table {schema}.lineage (
    one boolean primary key default true check (one),
    system_identifier text not null, timeline integer not null, epoch integer not null, since timestamptz not null
);
"""
"""The first migration's part that all three services share; never edited once released."""


def statements(script: str) -> list[str]:
    """Return the statements of a script, each ended by `;` at a line's end: asyncpg prepares one at a time."""
    return [part.strip() for part in script.split(";\n") if part.strip()]
