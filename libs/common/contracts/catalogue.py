"""Every topic, who writes it, and its message types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from libs.common.contracts.borrower_profiles import BORROWER_PROFILES
from libs.common.contracts.case_events import CASE_EVENTS
from libs.common.contracts.contact_outcomes import CONTACT_OUTCOMES
from libs.common.contracts.contact_tasks import CONTACT_TASKS
from libs.common.contracts.corrections import ATTRIBUTES
from libs.common.contracts.overdue_facts import OVERDUE_FACTS
from libs.common.contracts.wallet_borrowers import BORROWER_EVENTS
from libs.common.contracts.wallet_loans import LOAN_EVENTS

HEARTBEAT = "wallet.feed.heartbeat.v1"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its name, who writes it, what is on it and for how long."""

    name: str
    producer: str
    consumers: tuple[str, ...]
    types: Mapping[str, type[msgspec.Struct]]
    retention: timedelta
    compacted: bool = False
    extensions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Our CloudEvents extension attributes of a message, as JSON Schemas."""


LOAN_EVENTS_TOPIC = Topic(
    "wallet.loan-events", "wallet", ("ingest",), {**LOAN_EVENTS, HEARTBEAT: BORROWER_EVENTS[HEARTBEAT]}, timedelta(days=14)
)
BORROWER_EVENTS_TOPIC = Topic("wallet.borrower-events", "wallet", ("ingest",), BORROWER_EVENTS, timedelta(days=3))
FACTS = Topic(
    "dunning.overdue-facts", "ingest", ("scheduler", "notifier"), OVERDUE_FACTS, timedelta(days=14), compacted=True, extensions=ATTRIBUTES
)
PROFILES = Topic("dunning.borrower-profiles", "ingest", ("notifier", "scheduler"), BORROWER_PROFILES, timedelta(days=14), compacted=True)
TASKS = Topic("dunning.contact-tasks", "scheduler", ("notifier",), CONTACT_TASKS, timedelta(days=14))
OUTCOMES = Topic("dunning.contact-outcomes", "notifier", ("scheduler",), CONTACT_OUTCOMES, timedelta(days=35))
CASES = Topic("dunning.case-events", "scheduler", (), CASE_EVENTS, timedelta(days=14))

CATALOGUE: tuple[Topic, ...] = (LOAN_EVENTS_TOPIC, BORROWER_EVENTS_TOPIC, FACTS, PROFILES, TASKS, OUTCOMES, CASES)
INTERNAL: tuple[Topic, ...] = (FACTS, PROFILES, TASKS, OUTCOMES, CASES)


def group_of(service: str) -> str:
    """Return the consumer group of a service."""
    return f"dunwell-{service}"


def dead_letters_of(topic: str) -> str:
    """Return the topic on which unusable records of this one are kept for people to look at."""
    return f"{topic}.dlq"


def of_tenant(topic: Topic, tenant: str, *, first: str) -> str:
    """Return a tenant's input topic; the first tenant's has the plain name."""
    return topic.name if tenant == first else f"{topic.name}.{tenant}"
