"""The notifier's response shapes, for its OpenAPI; fields may be added but never removed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from libs.common.contracts.catalogue import OUTCOMES
from libs.common.describing import Shapes
from libs.common.feed.shapes import feed_shapes
from libs.common.tenant_settings.shapes import settings_shapes
from services.notifier.domain.tenant import TenantSettings
from services.notifier.domain.verdicts import Decision
from services.notifier.routes.account_shapes import ACCOUNTS
from services.notifier.routes.text_shapes import TEXTS


class Delivery(Struct):
    """A requested message, and how far it has come."""

    task_id: str
    borrower_id: str
    case_id: str | None
    state: str
    reason: str | None
    next_at: datetime | None
    waiting: bool
    taken_at: datetime | None
    expires_at: datetime | None
    resolve_by: datetime | None
    step: str | None
    template: str | None
    purpose: str | None
    channels: list[str]
    policy: dict[str, Any] | None
    channel: str | None
    spent_on: list[str]
    sequence: int
    decisions: list[Decision]


class SaidReceipt(Struct):
    """What a provider said about a message; `raw` is the request that brought it, if asked for by a caller who may read it."""

    at: datetime | None
    received_at: datetime
    standing: str | None
    code: str | None
    fault: str
    raw: str | None


class Attempt(Struct):
    """One try by one provider, and what it said."""

    channel: str
    turn: int
    provider: str
    locale: str | None
    version: int | None
    began_at: datetime
    ended_at: datetime | None
    result: str | None
    provider_ref: str | None
    code: str | None
    fault: str | None
    receipt: str | None
    receipts: list[SaidReceipt]


class DeliveryWithAttempts(Delivery, kw_only=True):
    """A delivery, the text it used, and its attempts."""

    text: dict[str, Any] | None
    attempts: list[Attempt]


class LedgerContact(Struct):
    """A contact that caps count."""

    contact_id: str
    at: datetime
    channel: str
    result: str | None
    by: str | None
    direction: str
    purpose: str | None
    loans: list[str] | None
    task_id: str | None
    case_id: str | None
    decision: Decision | None
    reserved_until: datetime | None


class SwitchSet(Struct):
    """A position of the switch as set."""

    scope: str
    key: str | None
    contacts: str
    reason: str
    by: str
    at: datetime


class Concerned(Struct):
    """How many of the waiting contacts that are due first a position of the switch applies to."""

    concerned: int
    of: int


class SwitchTurned(SwitchSet):
    """A position of the switch and what it covers; `waiting` is given for policies, steps and templates, whose names are not checked."""

    waiting: Concerned | None
    hint: str | None


class SpokenRule(Struct):
    """A rule that denied a contact, and until when."""

    rule: str
    nature: str
    kind: str
    cite: str
    until: datetime | None


class GateAnswer(Struct):
    """Allow, or deny with the earliest time that all rules allow."""

    decision: str
    earliest: datetime | None
    rules: list[SpokenRule]
    packs: dict[str, str]
    window_ends: datetime | UnsetType | None = UNSET


class Reservation(Struct):
    """A slot held for a contact, and until when."""

    id: str
    until: datetime


class ContactAnswer(GateAnswer, kw_only=True):
    """May a person make this contact now: a yes holds a slot."""

    reservation: Reservation | UnsetType = UNSET


class Preferences(Struct):
    """What the borrower asked for; version 0 means nothing yet."""

    version: int
    no_contact: list[dict[str, Any]]
    channels: dict[str, Any]
    language: str | None
    reason: str | None
    by: str | None
    at: datetime | None


class SandboxMessage(Struct):
    """What the sandbox was given; masked without the scope pii:read."""

    id: str
    task_id: str
    borrower_id: str
    channel: str
    to: str | None
    subject: str | None
    body: str | None
    accepted_at: datetime
    html: str | None
    link: str | None


SHAPES: Shapes = {
    "getDeliveries": list[Delivery], "getDelivery": DeliveryWithAttempts, "getBorrowerContacts": list[LedgerContact],
    "getSwitch": list[SwitchSet], "putSwitch": SwitchTurned, "postComplianceCheck": GateAnswer, "authorizeContacts": ContactAnswer,
    "getBorrowerPreferences": Preferences, "putBorrowerPreferences": Preferences, "getSandboxMessages": list[SandboxMessage],
    "getBorrowerPreferencesVersions": list[Preferences],
    **TEXTS, **ACCOUNTS, **settings_shapes(TenantSettings), **feed_shapes(OUTCOMES),
}  # fmt: skip
