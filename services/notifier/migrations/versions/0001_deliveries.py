"""The notifier: borrowers and what is known about them, deliveries, attempts, contacts, caps, switch, texts, providers, sandbox."""

from alembic import op

from libs.common.db.base import BASE_0001, statements

revision = "0001"
down_revision = None

DELIVERIES = """
create table notifier.borrowers (
    tenant text not null, borrower_id text not null,
    profile bytea, key text, time timestamptz, stamp text, erased_at timestamptz,
    primary key (tenant, borrower_id)
) with (fillfactor = 85);
create table notifier.facts (
    tenant text not null, borrower_id text not null, loan_id text not null,
    epoch integer not null, version bigint not null, as_of date not null, fact bytea not null,
    primary key (tenant, borrower_id, loan_id)
) with (fillfactor = 85);
create table notifier.consents (
    tenant text not null, borrower_id text not null, channel text not null, purpose text not null,
    granted boolean not null, at timestamptz, time timestamptz not null, stamp text not null,
    primary key (tenant, borrower_id, channel, purpose)
);
create table notifier.statuses (
    tenant text not null, borrower_id text not null, status_id text not null,
    status text, since timestamptz, until timestamptz, time timestamptz not null, stamp text not null,
    primary key (tenant, borrower_id, status_id)
);
create table notifier.holds (
    tenant text not null, borrower_id text not null, hold_id text not null, case_id text not null,
    stop text, contacts text, since timestamptz, until timestamptz, loan_id text, channel text, time timestamptz, ended_at timestamptz,
    primary key (tenant, borrower_id, hold_id)
);
create table notifier.deliveries (
    tenant text not null, borrower_id text not null, task_id text not null, case_id text not null,
    request bytea, taken_at timestamptz not null, expires_at timestamptz, epoch integer not null,
    state text not null, reason text, next_at timestamptz, waiting boolean not null default false, cancelled boolean not null default false,
    sequence integer not null default 0, turn integer not null default 0, tries integer not null default 0,
    channel text, spent text[] not null default '{}', told text, decision bytea,
    resolve_by timestamptz, earlier_state text, earlier_channel text, lost_time text, tried_since timestamptz,
    revision integer not null default 0,
    primary key (tenant, borrower_id, task_id)
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
create table notifier.attempts (
    tenant text not null, borrower_id text not null, task_id text not null, channel text not null,
    turn integer not null, provider text not null, message_id text not null, locale text, version integer,
    began_at timestamptz not null, ended_at timestamptz,
    result text, again boolean not null default false, provider_ref text, code text, fault text, receipt text,
    asked integer not null default 0,
    primary key (tenant, borrower_id, task_id, channel)
) with (fillfactor = 85);
create table notifier.contacts (
    tenant text not null, borrower_id text not null, contact_id text not null,
    at timestamptz not null, channel text not null, result text not null, by text not null, direction text not null,
    lookup text, kind text, loans text[] not null, task_id text, case_id text, decision bytea, reserved_until timestamptz,
    primary key (tenant, borrower_id, contact_id)
) with (fillfactor = 85, autovacuum_vacuum_insert_scale_factor = 0.02);
create table notifier.preferences (
    tenant text not null, borrower_id text not null, version integer not null,
    wishes bytea not null, reason text, by text not null, at timestamptz not null,
    primary key (tenant, borrower_id, version)
);
create table notifier.addresses (
    tenant text not null, borrower_id text not null, lookup text not null,
    primary key (tenant, borrower_id, lookup)
);
"""

SMALL = """
create index deliveries_task on notifier.deliveries (tenant, task_id);
create index deliveries_case on notifier.deliveries (case_id, tenant);
create index attempts_message on notifier.attempts (message_id, tenant);
create index attempts_ref on notifier.attempts (provider_ref, tenant) where provider_ref is not null;
create index attempts_lost on notifier.attempts (ended_at) where result = 'unknown' and receipt is null;
create index contacts_lookup on notifier.contacts (lookup, tenant, at) where lookup is not null;
create index contacts_reserved on notifier.contacts (reserved_until) where reserved_until is not null;
create table notifier.queue (
    tenant text not null, borrower_id text not null, task_id text not null, state text not null, next_at timestamptz not null,
    primary key (tenant, borrower_id, task_id)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
create index queue_next_at on notifier.queue (tenant, next_at, borrower_id, task_id);
create table notifier.caps (
    tenant text not null, scope text not null, key text not null,
    primary key (tenant, scope, key)
);
create table notifier.watermarks (
    topic text not null, partition integer not null, until timestamptz not null, stale_feeds text[] not null,
    primary key (topic, partition)
) with (fillfactor = 70);
create table notifier.switches (
    tenant text not null, scope text not null, key text not null,
    contacts text not null, reason text not null, by text not null, at timestamptz not null,
    primary key (tenant, scope, key)
);
create table notifier.templates (
    tenant text not null, name text not null, version integer not null,
    locale text not null, channel text not null, state text not null check (state in ('draft', 'published', 'retired')),
    subject text, body text not null, html text, jurisdictions text[], purpose text not null,
    created_by text not null, created_at timestamptz not null,
    published_by text, published_at timestamptz, retired_by text, retired_at timestamptz,
    primary key (tenant, name, version)
);
create unique index templates_published on notifier.templates (tenant, name, locale, channel) where state = 'published';
create table notifier.provider_accounts (
    tenant text not null, name text not null, version integer not null, kind text not null, channels text[] not null,
    settings bytea not null, credential_names text[] not null, sealed bytea not null, secret_hash bytea not null,
    base_url text, at_once integer not null, per_second integer, paused boolean not null default false, paused_reason text, paused_by text,
    by text not null, at timestamptz not null,
    primary key (tenant, name)
);
create unique index provider_accounts_secret on notifier.provider_accounts (secret_hash);
create table notifier.provider_states (
    tenant text not null, name text not null, free_at timestamptz, slowed_until timestamptz, slowings integer not null default 0,
    phase text not null default 'closed', since timestamptz, until timestamptz, calls integer not null default 0,
    faults integer not null default 0, trips integer not null default 0, last_faults bytea,
    primary key (tenant, name)
) with (fillfactor = 50);
create table notifier.provider_events (
    tenant text not null, name text not null, id bigint generated always as identity,
    at timestamptz not null, kind text not null, by text, detail bytea not null,
    primary key (tenant, name, id)
);
create table notifier.routes (
    tenant text not null, version integer not null, routes bytea not null, by text not null, at timestamptz not null,
    primary key (tenant, version)
);
create table notifier.callbacks (
    id bigint generated always as identity primary key,
    tenant text not null, provider text not null, received_at timestamptz not null, sealed bytea
);
create table notifier.receipts (
    tenant text not null, provider text not null, id bytea not null, message_id text, provider_ref text, standing integer,
    code text, fault text not null, event_id text, at timestamptz, received_at timestamptz not null, callback bigint,
    primary key (tenant, provider, id)
);
create index receipts_message on notifier.receipts (tenant, message_id) where message_id is not null;
create index receipts_ref on notifier.receipts (tenant, provider_ref) where message_id is null;
create table notifier.parts (
    tenant text not null, provider text not null, provider_ref text not null, message_id text not null, parts integer not null,
    kept_at timestamptz not null default clock_timestamp(),
    primary key (tenant, provider, provider_ref)
);
create index parts_message on notifier.parts (tenant, message_id);
create table notifier.sandbox_messages (
    id text primary key, tenant text not null, task_id text not null, borrower_id text not null, channel text not null,
    lookup bytea, sealed bytea, accepted_at timestamptz not null
);
create index sandbox_messages_borrower on notifier.sandbox_messages (tenant, borrower_id, accepted_at);
create index sandbox_messages_lookup on notifier.sandbox_messages (tenant, lookup, accepted_at);
create index sandbox_messages_at on notifier.sandbox_messages (tenant, accepted_at, id);
create index addresses_lookup on notifier.addresses (tenant, lookup);
create table notifier.pii_reads (
    id bigint generated always as identity primary key,
    tenant text not null, borrower_id text, what text not null, by text not null, reason text, at timestamptz not null
);
create index pii_reads_borrower on notifier.pii_reads (tenant, borrower_id, id);
"""
REPLIES = """
create table notifier.suppressions (
    tenant text not null, id text not null, borrower_id text not null, channel text not null, lookup text not null, ground text not null,
    since timestamptz not null, source text not null, provider text, task_id text,
    lifted_at timestamptz, lifted_by text, lifted_why text,
    primary key (tenant, id)
);
create unique index suppressions_standing on notifier.suppressions (tenant, lookup, borrower_id, channel, ground) where lifted_at is null;
create index suppressions_borrower on notifier.suppressions (tenant, borrower_id) where borrower_id <> '';
create table notifier.replies (
    tenant text not null, provider text not null, id bytea not null, channel text not null, lookup text not null,
    borrowers text[] not null, wishes text[] not null, signed boolean not null, at timestamptz, received_at timestamptz not null,
    callback bigint, sealed bytea,
    primary key (tenant, provider, id)
);
create index replies_borrowers on notifier.replies using gin (borrowers);
create index replies_unclaimed on notifier.replies (received_at) where borrowers = '{}' and sealed is not null;
"""
UNREPORTED = """
create table notifier.unreported (
    tenant text not null, provider text not null, provider_ref text not null, spelled text not null,
    taken_at timestamptz not null, due_at timestamptz not null, asked integer not null default 0,
    primary key (tenant, provider, provider_ref)
);
create index unreported_due on notifier.unreported (due_at);
"""

NAMELESS = """
create table notifier.nameless_contacts (
    id bigint generated always as identity primary key,
    tenant text not null, lookup text not null, at timestamptz not null, channel text not null, result text not null,
    direction text not null, kind text
);
create index nameless_contacts_lookup on notifier.nameless_contacts (lookup, tenant, at);
create index nameless_contacts_at on notifier.nameless_contacts (at);
"""
NUMBERS = """
create table notifier.contact_numbers (
    tenant text not null, borrower_id text not null, contact_id text not null, lookup text not null,
    primary key (tenant, borrower_id, contact_id, lookup)
);
create index contact_numbers_lookup on notifier.contact_numbers (lookup, tenant);
"""


def upgrade() -> None:
    for statement in statements(BASE_0001.format(schema="notifier") + DELIVERIES + SMALL + REPLIES + UNREPORTED + NAMELESS + NUMBERS):
        op.execute(statement)
