"""The tables of schema `notifier`; the statements that use them are in store/."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Identity, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from libs.common.db.base import base_tables
from services.notifier.reply_tables import reply_tables

SCHEMA = "notifier"
metadata = MetaData(schema=SCHEMA)
base_tables(metadata)
reply_tables(metadata)
_moment = DateTime(timezone=True)


def _of_borrower() -> tuple[Column[str], Column[str]]:
    return Column("tenant", Text, primary_key=True), Column("borrower_id", Text, primary_key=True)


borrowers = Table(
    "borrowers",
    metadata,
    *_of_borrower(),
    Column("profile", LargeBinary),
    Column("key", Text),
    Column("time", _moment),
    Column("stamp", Text),
    Column("erased_at", _moment),
)
"""The row to lock before writing anything about a borrower: a stub if nothing is known yet. `key` is the borrower's wrapped key."""

facts = Table(
    "facts",
    metadata,
    *_of_borrower(),
    Column("loan_id", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("fact", LargeBinary, nullable=False),
)
"""The newest overdue fact of every loan, whole."""

consents = Table(
    "consents",
    metadata,
    *_of_borrower(),
    Column("channel", Text, primary_key=True),
    Column("purpose", Text, primary_key=True),
    Column("granted", Boolean, nullable=False),
    Column("at", _moment),
    Column("time", _moment, nullable=False),
    Column("stamp", Text, nullable=False),
)

statuses = Table(
    "statuses",
    metadata,
    *_of_borrower(),
    Column("status_id", Text, primary_key=True),
    Column("status", Text),
    Column("since", _moment),
    Column("until", _moment),
    Column("time", _moment, nullable=False),
    Column("stamp", Text, nullable=False),
)
"""The stops of borrowers; one without a status has been closed."""

holds = Table(
    "holds",
    metadata,
    *_of_borrower(),
    Column("hold_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("stop", Text),
    Column("contacts", Text),
    Column("since", _moment),
    Column("until", _moment),
    Column("loan_id", Text),
    Column("channel", Text),
    Column("time", _moment),
    Column("ended_at", _moment),
)
"""The holds of cases; one without a stop ended before it was heard of."""

deliveries = Table(
    "deliveries",
    metadata,
    *_of_borrower(),
    Column("task_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("request", LargeBinary),
    Column("taken_at", _moment, nullable=False),
    Column("expires_at", _moment),
    Column("epoch", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("next_at", _moment),
    Column("waiting", Boolean, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("channel", Text),
    Column("spent", ARRAY(Text), nullable=False),
    Column("told", Text),
    Column("decision", LargeBinary),
    Column("resolve_by", _moment),
    Column("earlier_state", Text),
    Column("earlier_channel", Text),
    Column("lost_time", Text),
    Column("tried_since", _moment),
    Column("revision", Integer, nullable=False),
)
"""A contact task; one without a request was cancelled before it came. `turn` counts attempts.

`next_at` is when something is to be done: an attempt, closing an unknown one (`resolve_by`), moving to the next channel when no receipt
comes. `earlier_*` is the best outcome on channels it has left. `revision` rises with every change, so that a decision based on an outdated
row is not written.
"""

queue = Table(
    "queue",
    metadata,
    *_of_borrower(),
    Column("task_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("next_at", _moment, nullable=False),
)
"""The deliveries that have a `next_at`, with their state; written together with the delivery, and indexed here instead of there."""

attempts = Table(
    "attempts",
    metadata,
    *_of_borrower(),
    Column("task_id", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("turn", Integer, nullable=False),
    Column("provider", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("locale", Text),
    Column("version", Integer),
    Column("began_at", _moment, nullable=False),
    Column("ended_at", _moment),
    Column("result", Text),
    Column("again", Boolean, nullable=False),
    Column("provider_ref", Text),
    Column("code", Text),
    Column("fault", Text),
    Column("receipt", Text),
    Column("asked", Integer, nullable=False),
)
"""Written before a provider is called: one per task and channel, opened again only by a result that says it did not go out.

`locale` and `version` say which text of the task's template went out; version 0 is a shipped one. `asked` counts how often its provider
was asked about an attempt whose answer was lost.
"""

contacts = Table(
    "contacts",
    metadata,
    *_of_borrower(),
    Column("contact_id", Text, primary_key=True),
    Column("at", _moment, nullable=False),
    Column("channel", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("lookup", Text),
    Column("kind", Text),
    Column("loans", ARRAY(Text), nullable=False),
    Column("task_id", Text),
    Column("case_id", Text),
    Column("decision", LargeBinary),
    Column("reserved_until", _moment),
)
"""The ledger of contacts, whoever made them: what caps count, and what explains a contact.

One with `reserved_until` has not been made yet: a person was permitted to make it, and until then it counts.
"""

caps = Table(
    "caps",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
)
"""Rows to lock while a cap is counted; the contacts themselves are what is counted. For a number, only a bucket of its hash is here."""

watermarks = Table(
    "watermarks",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("until", _moment, nullable=False),
    Column("stale_feeds", ARRAY(Text), nullable=False),
)

switches = Table(
    "switches",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("contacts", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", _moment, nullable=False),
)
"""The stop button; the row of scope `all` has an empty tenant."""

provider_accounts = Table(
    "provider_accounts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("channels", ARRAY(Text), nullable=False),
    Column("settings", LargeBinary, nullable=False),
    Column("credential_names", ARRAY(Text), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("base_url", Text),
    Column("at_once", Integer, nullable=False),
    Column("per_second", Integer),
    Column("paused", Boolean, nullable=False),
    Column("paused_reason", Text),
    Column("paused_by", Text),
    Column("by", Text, nullable=False),
    Column("at", _moment, nullable=False),
)
"""A tenant's provider accounts; credentials and the secret of the receipts URL are sealed, and that secret is found by a keyed hash."""

provider_states = Table(
    "provider_states",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("free_at", _moment),
    Column("slowed_until", _moment),
    Column("slowings", Integer, nullable=False),
    Column("phase", Text, nullable=False),
    Column("since", _moment),
    Column("until", _moment),
    Column("calls", Integer, nullable=False),
    Column("faults", Integer, nullable=False),
    Column("trips", Integer, nullable=False),
    Column("last_faults", LargeBinary),
)
"""The state of each account, shared by all replicas: its next free permit, its rest, its breaker (`phase` to `trips`)."""

provider_events = Table(
    "provider_events",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _moment, nullable=False),
    Column("kind", Text, nullable=False),
    Column("by", Text),
    Column("detail", LargeBinary, nullable=False),
)
"""The history of accounts: set, paused, resumed, breaker opened and closed; `by` is empty where no person did it."""

routes = Table(
    "routes",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("routes", LargeBinary, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", _moment, nullable=False),
)
"""Which provider carries what, in every version; the highest version applies."""

callbacks = Table(
    "callbacks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("received_at", _moment, nullable=False),
    Column("sealed", LargeBinary),
)
"""The requests that brought something new, as they came; the content goes once a borrower in it is erased."""

receipts = Table(
    "receipts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("id", LargeBinary, primary_key=True),
    Column("message_id", Text),
    Column("provider_ref", Text),
    Column("standing", Integer),
    Column("code", Text),
    Column("fault", Text, nullable=False),
    Column("event_id", Text),
    Column("at", _moment),
    Column("received_at", _moment, nullable=False),
    Column("callback", BigInteger),
)
"""Everything a provider said about a message, each statement once. What an attempt came to is always worked out from all of them."""

parts = Table(
    "parts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("provider_ref", Text, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("kept_at", _moment, nullable=False),
)
"""The provider's names for the parts of a message that was sent in several."""

unreported = Table(
    "unreported",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("provider_ref", Text, primary_key=True),
    Column("spelled", Text, nullable=False),
    Column("taken_at", _moment, nullable=False),
    Column("due_at", _moment, nullable=False),
    Column("asked", Integer, nullable=False),
)
"""Messages or parts about which the provider is asked, by its own name for each, if no receipt comes; deleted with the last question."""

sandbox_messages = Table(
    "sandbox_messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("borrower_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("lookup", LargeBinary),
    Column("sealed", LargeBinary),
    Column("accepted_at", _moment, nullable=False),
)
"""What the sandbox was given, one row per call, so a message sent twice appears twice; address and text go with an erasure."""

templates = Table(
    "templates",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("locale", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("subject", Text),
    Column("body", Text, nullable=False),
    Column("html", Text),
    Column("jurisdictions", ARRAY(Text)),
    Column("purpose", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("published_by", Text),
    Column("published_at", _moment),
    Column("retired_by", Text),
    Column("retired_at", _moment),
)
"""A tenant's own texts; at most one version per name, locale and channel is published."""
