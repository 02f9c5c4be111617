"""The tables that every service has in its own schema.

Positions, outbox, API keys and lineage; and for use without Kafka: settings, feed, webhooks and idempotency keys.
"""

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
    _without_kafka(metadata)


def _without_kafka(metadata: MetaData) -> None:
    moment = DateTime(timezone=True)
    Table(
        "settings",
        metadata,
        Column("tenant", Text, primary_key=True),
        Column("version", Integer, primary_key=True),
        Column("settings", LargeBinary, nullable=False),
        Column("by", Text, nullable=False),
        Column("at", moment, nullable=False),
    )
    Table(
        "feed_heads",
        metadata,
        Column("tenant", Text, primary_key=True),
        Column("topic", Text, primary_key=True),
        Column("last", BigInteger, nullable=False),
    )
    Table(
        "feed",
        metadata,
        Column("tenant", Text, primary_key=True),
        Column("topic", Text, primary_key=True),
        Column("last", BigInteger, primary_key=True),
        Column("messages", Integer, nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("at", moment, nullable=False),
        Column("bundle", LargeBinary, nullable=False),
    )
    Table(
        "webhook_secrets",
        metadata,
        Column("tenant", Text, primary_key=True),
        Column("webhook_id", Text, primary_key=True),
        Column("sealed", LargeBinary, nullable=False),
    )
    Table(
        "webhook_places",
        metadata,
        Column("tenant", Text, primary_key=True),
        Column("webhook_id", Text, primary_key=True),
        Column("topic", Text, primary_key=True),
        Column("epoch", Integer, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("active", Boolean, nullable=False),
        Column("next_at", moment, nullable=False),
        Column("leased_until", moment),
        Column("lease", Text),
        Column("tries", Integer, nullable=False),
        Column("failing_since", moment),
        Column("last_error", Text),
        Column("delivered_at", moment),
        Column("off_since", moment),
        Column("off_reason", Text),
    )
    Table(
        "idempotency",
        metadata,
        Column("caller", LargeBinary, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("request", LargeBinary, nullable=False),
        Column("claim", Text, nullable=False),
        Column("written_at", moment),
        Column("status", Integer),
        Column("answer", LargeBinary),
        Column("expires_at", moment, nullable=False),
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
create table {schema}.settings (
    tenant text not null, version integer not null, settings bytea not null, by text not null, at timestamptz not null,
    primary key (tenant, version)
);
create table {schema}.feed_heads (
    tenant text not null, topic text not null, last bigint not null,
    primary key (tenant, topic)
) with (fillfactor = 50);
create table {schema}.feed (
    tenant text not null, topic text not null, last bigint not null, messages integer not null,
    epoch integer not null, at timestamptz not null default clock_timestamp(), bundle bytea not null,
    primary key (tenant, topic, last)
) with (autovacuum_vacuum_scale_factor = 0.02);
alter table {schema}.feed alter column bundle set storage external;
create index feed_at on {schema}.feed (at);
create table {schema}.webhook_secrets (
    tenant text not null, webhook_id text not null, sealed bytea not null,
    primary key (tenant, webhook_id)
);
create table {schema}.webhook_places (
    tenant text not null, webhook_id text not null, topic text not null,
    epoch integer not null, number bigint not null, active boolean not null, next_at timestamptz not null,
    leased_until timestamptz, lease text, tries integer not null default 0, failing_since timestamptz, last_error text,
    delivered_at timestamptz, off_since timestamptz, off_reason text,
    primary key (tenant, webhook_id, topic)
) with (fillfactor = 50);
create table {schema}.idempotency (
    caller bytea not null, key text not null, request bytea not null, claim text not null,
    written_at timestamptz, status integer, answer bytea, expires_at timestamptz not null,
    primary key (caller, key)
);
create index idempotency_expires_at on {schema}.idempotency (expires_at);
"""
"""The part of the first migration that all three services share; never edited once released."""


def statements(script: str) -> list[str]:
    """Split a script into statements, each ending with `;` at the end of a line: asyncpg prepares one at a time."""
    return [part.strip() for part in script.split(";\n") if part.strip()]
