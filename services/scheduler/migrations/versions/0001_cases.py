"""Debts as the facts describe them, cases, what was sent and done, work for people, stops, how far the facts reach, and policies."""

from alembic import op

from libs.common.db.base import BASE_0001, statements

revision = "0001"
down_revision = None

CASES = """
create table scheduler.debts (
    tenant text not null, borrower_id text not null, loan_id text not null, currency text not null,
    epoch integer not null, version bigint not null, as_of date not null, fact_at timestamptz not null,
    live boolean not null, owed boolean not null, wake_at timestamptz, case_loan text not null,
    primary key (tenant, borrower_id, loan_id)
) with (fillfactor = 85);
create table scheduler.cases (
    tenant text not null, borrower_id text not null, case_id text not null,
    assignment text not null, currency text not null, loan_id text not null default '', chosen_in text not null default '',
    policy text not null, policy_version integer not null,
    passed text not null default '', flagged text not null default '', nonpayment_reason text, trial text,
    acted text not null default '', handed_to text, handed_at timestamptz,
    state text not null, stage text not null, spell integer not null, opened_at timestamptz, clear_since timestamptz,
    unsettled_since timestamptz, rests_until timestamptz, newest_fact_at timestamptz,
    next_at timestamptz, contact_at timestamptz, contact_step text,
    reason text, reason_until timestamptz, reason_event text, reason_task text, in_doubt text, moved_at timestamptz,
    primary key (tenant, borrower_id, case_id)
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
create table scheduler.case_steps (
    tenant text not null, borrower_id text not null, task_id text not null, case_id text not null,
    spell integer not null, step text not null, about date, occurrence integer not null, state text not null,
    requested_at timestamptz not null, expires_at timestamptz not null, until timestamptz, channel text, reason text,
    sequence bigint not null default -1, debts bytea not null, made_at timestamptz, done_at timestamptz,
    corrected_at timestamptz, corrected_from date, groundless boolean not null default false, purpose text not null,
    primary key (tenant, borrower_id, task_id)
) with (fillfactor = 85);
create table scheduler.corrections (
    tenant text not null, borrower_id text not null, loan_id text not null, epoch integer not null, version bigint not null,
    timezone text not null, said_at timestamptz not null, caused_by text, days text not null,
    primary key (tenant, borrower_id, loan_id, epoch, version)
);
create sequence scheduler.timeline_seq cache 1;
create table scheduler.timeline (
    tenant text not null, borrower_id text not null, case_id text not null,
    seq bigint not null default nextval('scheduler.timeline_seq'),
    at timestamptz not null, kind text not null, reason text, detail bytea not null,
    primary key (tenant, borrower_id, case_id, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.02);
create table scheduler.tasks (
    tenant text not null, borrower_id text not null, task_id text not null, case_id text not null,
    spell integer not null, key text not null, occurrence integer not null, queue text not null, kind text not null,
    state text not null, created_at timestamptz not null, due_at timestamptz not null,
    claimed_by text, claimed_at timestamptz, done_by text, done_at timestamptz, note text,
    priority integer not null default 50, claimed_until timestamptz, result text, breached_at timestamptz,
    primary key (tenant, borrower_id, task_id)
) with (fillfactor = 85);
create table scheduler.statuses (
    tenant text not null, borrower_id text not null, status_id text not null, kind text not null,
    from_at timestamptz not null, until timestamptz, stands boolean not null, time timestamptz not null, event_id text not null,
    primary key (tenant, borrower_id, status_id)
) with (fillfactor = 85);
"""

AGREEMENTS = """
create table scheduler.holds (
    tenant text not null, borrower_id text not null, hold_id text not null, case_id text not null,
    stop text not null, contacts text not null, loan_id text, channel text, from_at timestamptz not null, until timestamptz,
    ends_with text, source text, matter text, paused text not null default '', reason text,
    set_by text not null, set_at timestamptz not null, ended_at timestamptz, ended_by text, end_reason text,
    primary key (tenant, borrower_id, hold_id)
) with (fillfactor = 85);
create table scheduler.promises (
    tenant text not null, borrower_id text not null, promise_id text not null, case_id text not null, spell integer not null,
    amount bigint not null, tolerated bigint not null, due_on date not null, until timestamptz not null,
    made_at timestamptz not null, made_by text not null, channel text, note text,
    state text not null, paid bigint not null, decided_at timestamptz,
    primary key (tenant, borrower_id, promise_id)
) with (fillfactor = 85);
create table scheduler.promise_debts (
    tenant text not null, borrower_id text not null, promise_id text not null, loan_id text not null, since bigint not null,
    primary key (tenant, borrower_id, promise_id, loan_id)
) with (fillfactor = 85);
create table scheduler.matters (
    tenant text not null, borrower_id text not null, matter_id text not null, case_id text not null,
    kind text not null, loan_id text, line text, channel text, note text, state text not null,
    opened_at timestamptz not null, opened_by text not null, outcome text, answer text, resolved_at timestamptz, resolved_by text,
    primary key (tenant, borrower_id, matter_id)
) with (fillfactor = 85);
create table scheduler.recorded_contacts (
    tenant text not null, borrower_id text not null, contact_id text not null, case_id text not null, spell integer not null,
    channel text not null, at timestamptz not null, result text not null, loan_id text, task_id text,
    by text not null, note text, recorded_at timestamptz not null,
    primary key (tenant, borrower_id, contact_id)
);
"""

AGREEMENT_INDEXES = """
create index holds_case on scheduler.holds (tenant, case_id) where ended_at is null;
create index tasks_queue on scheduler.tasks (tenant, queue, priority desc, due_at, task_id) where state <> 'done';
create index tasks_due on scheduler.tasks (due_at) where state <> 'done' and breached_at is null;
create index tasks_claimed on scheduler.tasks (claimed_until) where state = 'claimed';
create table scheduler.hold_batches (
    tenant text not null, batch_id text not null, asked bytea not null, by text not null, at timestamptz not null,
    number integer not null, done integer not null default 0,
    after_borrower text not null default '', after_case text not null default '', ended_at timestamptz,
    primary key (tenant, batch_id)
) with (fillfactor = 70);
create index hold_batches_open on scheduler.hold_batches (at) where ended_at is null;
"""

DEALINGS = """
create table scheduler.approvals (
    tenant text not null, borrower_id text not null, case_id text not null, spell integer not null, step text not null,
    approved boolean not null, by text not null, at timestamptz not null, reason text, exhibits bytea not null,
    primary key (tenant, borrower_id, case_id, spell, step)
);
create table scheduler.exhibits (
    tenant text not null, borrower_id text not null, case_id text not null, spell integer not null, document text not null,
    sha256 text not null, reference text not null, by text not null, at timestamptz not null,
    primary key (tenant, borrower_id, case_id, spell, document, sha256)
);
create table scheduler.offers (
    tenant text not null, borrower_id text not null, case_id text not null, offer_id text not null, spell integer not null,
    step text, state text not null, terms bytea not null, made_by text not null, made_at timestamptz not null,
    expires_at timestamptz not null, decided_by text, decided_at timestamptz, approved_by text, taken bytea, reason text,
    primary key (tenant, borrower_id, case_id, offer_id)
) with (fillfactor = 85);
"""

INDEXES = """
create index debts_wake_at on scheduler.debts (wake_at) where wake_at is not null;
create index debts_loan on scheduler.debts (tenant, loan_id);
create index cases_next_at on scheduler.cases (next_at, case_id) where next_at is not null;
create index cases_id on scheduler.cases (tenant, case_id);
create index case_steps_case on scheduler.case_steps (tenant, borrower_id, case_id, spell);
create index case_steps_pending on scheduler.case_steps (expires_at) where state in ('requested', 'deferred', 'unknown');
create index tasks_case on scheduler.tasks (tenant, borrower_id, case_id, spell);
create index tasks_open on scheduler.tasks (tenant, task_id) where state <> 'done';
create index tasks_id on scheduler.tasks (tenant, task_id);
create table scheduler.watermarks (
    topic text not null, partition integer not null, until timestamptz not null, stale_feeds text[] not null default '{}',
    primary key (topic, partition)
) with (fillfactor = 70);
"""

POLICIES = """
create table scheduler.policy_chains (
    tenant text not null, chain text not null, seq bigint not null, hash bytea not null,
    primary key (tenant, chain)
) with (fillfactor = 70);
create table scheduler.policy_audit (
    tenant text not null, chain text not null, seq bigint not null, at timestamptz not null, by text not null, action text not null,
    version integer, detail bytea not null, previous bytea not null, hash bytea not null,
    primary key (tenant, chain, seq)
);
create table scheduler.policy_versions (
    tenant text not null, name text not null, version integer not null, state text not null, revision integer not null,
    source text not null, document bytea not null,
    writers text[] not null, created_at timestamptz not null, changed_at timestamptz not null,
    submitted_by text, submitted_at timestamptz, decided_by text, decided_at timestamptz, comment text, retired_at timestamptz,
    simulation_id text, simulation_hash text,
    primary key (tenant, name, version)
) with (fillfactor = 85);
create table scheduler.policy_activations (
    tenant text not null, name text not null, seq bigint not null, version integer not null, effective_at timestamptz not null,
    in_flight text not null, by text not null, at timestamptz not null,
    primary key (tenant, name, seq)
);
create table scheduler.assignments (
    tenant text primary key, revision integer not null, items bytea not null, at timestamptz not null, by text not null
) with (fillfactor = 70);
create table scheduler.policy_changes (
    tenant text not null, change_id text not null, effective_at timestamptz not null, wakes boolean not null,
    after_borrower text not null default '', after_loan text not null default '',
    primary key (tenant, change_id)
) with (fillfactor = 70);
create index policy_changes_effective on scheduler.policy_changes (effective_at);
"""

SIMULATION = """
create table scheduler.debt_facts (
    tenant text not null, borrower_id text not null, loan_id text not null, epoch integer not null, version bigint not null,
    as_of date not null, known_at timestamptz not null, fact bytea not null,
    currency text not null, status text not null, bucket text not null, overdue bigint not null, outstanding bigint not null,
    past_due_from date,
    primary key (tenant, borrower_id, loan_id, epoch, version, as_of) include (known_at, currency, status, bucket, overdue)
) with (autovacuum_vacuum_insert_scale_factor = 0.02);
create table scheduler.reach (
    tenant text not null, borrower_id text not null, what text not null, time timestamptz not null, event_id text not null, value bytea,
    segment text,
    primary key (tenant, borrower_id, what)
) with (fillfactor = 85);
create index reach_contacts on scheduler.reach (time) where starts_with(what, 'contact:');
create table scheduler.segment_changes (
    tenant text not null, borrower_id text not null, at timestamptz not null,
    primary key (tenant, borrower_id)
) with (fillfactor = 70);
create index segment_changes_at on scheduler.segment_changes (at);
create table scheduler.simulations (
    tenant text not null, simulation_id text not null, state text not null, policy text not null, version integer,
    document bytea not null, document_hash text not null, asked bytea not null, by text not null,
    created_at timestamptz not null, started_at timestamptz, seen_at timestamptz, ended_at timestamptz,
    done bigint not null default 0, total bigint, reason text, result bytea, hash text,
    primary key (tenant, simulation_id)
) with (fillfactor = 70);
create table scheduler.case_counts (
    tenant text not null, reason text not null, number bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index simulations_open on scheduler.simulations (created_at, simulation_id) where state in ('queued', 'running');
"""
COVERAGE = """
alter table scheduler.cases add column covered_until timestamptz generated always as (
    case when state = 'open' and stage = 'overdue' then
        case when reason_event is not null then timestamptz 'infinity'
             when reason_task is not null
             then greatest(contact_at, reason_until, coalesce(next_at, timestamptz 'infinity'))
             else coalesce(greatest(contact_at, reason_until), timestamptz '-infinity') end
    end
) stored;
create index cases_uncovered on scheduler.cases (covered_until) where covered_until < coalesce(next_at, timestamptz 'infinity');
create index debts_owed_fact_at on scheduler.debts (fact_at) where owed;
"""
EXPERIMENTS = """
create table scheduler.experiments (
    tenant text not null, policy text not null, version integer not null, challenger text not null, began_at timestamptz not null,
    stopped_at timestamptz, guardrail text,
    primary key (tenant, policy, version)
);
create table scheduler.trials (
    tenant text not null, borrower_id text not null, case_id text not null, spell integer not null,
    policy text not null, version integer not null, arm text not null, began_at timestamptz not null,
    primary key (tenant, borrower_id, case_id, spell)
) with (autovacuum_vacuum_insert_scale_factor = 0.02);
create index trials_arm on scheduler.trials (tenant, policy, version, arm, began_at);
"""
REPORTS = """
create index timeline_reported on scheduler.timeline (tenant, kind, at) where kind in (
    'case.opened', 'contact.requested', 'case.promise_made', 'case.complaint_opened',
    'contact.complained', 'contact.opted_out', 'borrower.status', 'case.feedback_given'
);
"""
LINKS = """
create table scheduler.borrower_links (
    token_hash bytea primary key, tenant text not null, borrower_id text not null, link_id text not null,
    case_ids text[] not null, spells integer[] not null, made_at timestamptz not null, made_by text not null,
    expires_at timestamptz not null, revoked_at timestamptz, revoked_by text, tries integer not null default 0,
    visit_hash bytea, visit_until timestamptz, acts integer not null default 0, acts_since timestamptz, task_id text
) with (fillfactor = 85);
create unique index borrower_links_of on scheduler.borrower_links (tenant, borrower_id, link_id);
create table scheduler.link_tries (
    tenant text not null, borrower_id text not null, tries integer not null, tried_at timestamptz not null,
    primary key (tenant, borrower_id)
);
create table scheduler.page_answers (
    tenant text not null, borrower_id text not null, answer_id text not null, case_id text not null, spell integer not null,
    kind text not null, said text not null, step text, task_id text, at timestamptz not null,
    primary key (tenant, borrower_id, answer_id)
);
create index case_steps_task on scheduler.case_steps using hash (task_id);
"""
KEEPING = """
create table scheduler.fact_walks (
    one boolean primary key default true check (one), before timestamptz not null, tenant text not null default '',
    borrower_id text not null default '', loan_id text not null default ''
) with (fillfactor = 50);
insert into scheduler.fact_walks (before) values (timestamptz '1970-01-01 00:00:00Z');
create index borrower_links_expires_at on scheduler.borrower_links (expires_at);
"""


def upgrade() -> None:
    parts = (
        CASES, AGREEMENTS, DEALINGS, SIMULATION, EXPERIMENTS, INDEXES, AGREEMENT_INDEXES, POLICIES, COVERAGE, REPORTS, LINKS, KEEPING,
    )  # fmt: skip
    for statement in statements(BASE_0001.format(schema="scheduler") + "".join(parts)):
        op.execute(statement)
