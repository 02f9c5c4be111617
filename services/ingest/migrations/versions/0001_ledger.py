"""The ledger: accepted events, loans, what is parked, borrowers and their sealed values, product lines, feeds."""

from alembic import op

from libs.common.db.base import BASE_0001, statements

revision = "0001"
down_revision = None

LEDGER = """
create table ingest.loans (
    tenant text not null, loan_id text not null,
    known boolean not null default false, borrower_id text, product text, product_version integer, currency text, timezone text,
    records bigint not null default 0, accepted bigint not null default 0,
    parked integer not null default 0, doubt_since timestamptz, fold_error text,
    book bytea, fold integer not null default 0, settings bytea, status text, anchor_on date, bucket text,
    overdue_total bigint not null default 0, outstanding_total bigint not null default 0,
    phase text, published boolean not null default false, said_on date, next_at timestamptz,
    primary key (tenant, loan_id)
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
create table ingest.events (
    tenant text not null, loan_id text not null, source text not null, event_id text not null,
    type text not null, time timestamptz not null, business_key text, data bytea not null,
    product_version integer, received_at timestamptz not null,
    primary key (tenant, loan_id, source, event_id)
) with (autovacuum_vacuum_insert_scale_factor = 0.02);
create table ingest.repeats (
    tenant text not null, loan_id text not null, source text not null, event_id text not null,
    type text not null, time timestamptz not null, business_key text not null, data bytea not null, received_at timestamptz not null,
    primary key (tenant, loan_id, source, event_id)
);
create table ingest.borrower_loans (
    tenant text not null, borrower_id text not null, loan_id text not null,
    primary key (tenant, borrower_id, loan_id)
);
create table ingest.borrowers (
    tenant text not null, borrower_id text not null,
    public_key bytea, wrapped_key bytea, erased_at timestamptz,
    primary key (tenant, borrower_id)
) with (fillfactor = 85);
create table ingest.borrower_events (
    tenant text not null, borrower_id text not null, source text not null, event_id text not null,
    type text not null, time timestamptz not null, digest bytea not null, data bytea not null, received_at timestamptz not null,
    primary key (tenant, borrower_id, source, event_id)
) with (autovacuum_vacuum_insert_scale_factor = 0.02);
create table ingest.borrower_values (
    tenant text not null, borrower_id text not null, what text not null,
    time timestamptz not null, event_id text not null, value bytea,
    primary key (tenant, borrower_id, what)
) with (fillfactor = 85);
"""

SMALL = """
create unique index events_business_key on ingest.events (tenant, loan_id, business_key) where business_key is not null;
create index loans_next_at on ingest.loans (next_at, tenant, loan_id) where next_at is not null;
create index loans_outdated on ingest.loans (tenant, loan_id) where fold <> 1;
create table ingest.parked (
    tenant text not null, parked_id text not null, loan_id text, borrower_id text, topic text not null,
    event bytea not null, error text not null, detail text not null, at timestamptz not null,
    resolved_at timestamptz, decision text, decided_by text, decision_reason text,
    primary key (tenant, parked_id)
);
create index parked_open on ingest.parked (tenant, loan_id, parked_id) where resolved_at is null;
create index parked_of_loan on ingest.parked (tenant, loan_id) where loan_id is not null;
create table ingest.products (
    tenant text not null, name text not null, version integer not null, settings bytea not null, created_at timestamptz not null,
    primary key (tenant, name, version)
);
create table ingest.feeds (
    tenant text not null, source text not null, every_s integer not null, said_at timestamptz not null,
    heard_at timestamptz not null, retired_at timestamptz, retired_by text, retired_reason text,
    primary key (tenant, source)
);
"""


def upgrade() -> None:
    for statement in statements(BASE_0001.format(schema="ingest") + LEDGER + SMALL):
        op.execute(statement)
