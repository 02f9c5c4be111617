"""What texts and packs look like over HTTP, for OpenAPI; fields may be added, none goes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from libs.common.describing import Shapes
from services.notifier.domain.costs import Cost


class TextProblem(Struct):
    """What keeps a text from being said, or is worth a second look."""

    kind: str
    detail: str
    part: str | None
    line: int | UnsetType | None = UNSET
    reason: str | UnsetType = UNSET
    at: int | UnsetType | None = UNSET
    excerpt: str | UnsetType | None = UNSET


class TextNamed(Struct):
    """Which text this is; version 0 is shipped."""

    name: str
    version: int
    locale: str
    channel: str


class TextVersion(TextNamed, kw_only=True):
    """A version of a text as it is written."""

    state: str
    subject: str | None
    body: str
    html: str | None
    jurisdictions: list[str] | None
    purpose: str
    created_by: str | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    published_by: str | UnsetType | None = UNSET
    published_at: datetime | UnsetType | None = UNSET
    retired_by: str | UnsetType | None = UNSET
    retired_at: datetime | UnsetType | None = UNSET


class TextDrafted(TextVersion, kw_only=True):
    """A draft, and what is wrong with it."""

    problems: list[TextProblem]


class TextInForce(Struct):
    """What is in force at a place."""

    name: str
    locale: str
    channel: str
    state: str
    version: int | None
    drafts: int


class SmsParts(Struct):
    """How an SMS is cut; `forcing` are the characters that GSM 7 has not."""

    encoding: str
    units: int
    parts: int
    texts: list[str]
    forcing: list[str] | str
    cost: Cost | None


class TextPreview(Struct):
    """How a text would read; without one where it cannot be made."""

    template: TextNamed
    subject: str | None
    body: str | None
    html: str | None
    sms: SmsParts | None
    asks: list[str]
    problems: list[TextProblem]


class PackInShort(Struct):
    """The rules of a jurisdiction in short."""

    id: str
    name: str
    version: str
    verified: str
    sandbox_only: bool
    regions: list[str]
    zones: list[str]
    sources: list[Any]
    holidays_known_to: date | None


class PackRule(Struct):
    """A rule of a pack; what its kind has beyond these fields stands beside them."""

    rule: str
    kind: str
    nature: str
    cite: str
    evidence: str
    channels: list[str]
    exempt: list[str]
    since: date | None
    until: date | None
    note: str | None
    regions: list[str] | None
    when: Any


class Pack(PackInShort, kw_only=True):
    """A pack with its rules."""

    notes: Any
    rules: list[PackRule]


TEXTS: Shapes = {
    "postTemplates": TextDrafted, "getTemplates": list[TextInForce], "previewTemplates": TextPreview, "publishTemplateVersion": TextVersion,
    "retireTemplateVersion": TextVersion, "getTemplateVersions": list[TextVersion], "getTemplateVersion": TextVersion,
    "getCompliancePacks": list[PackInShort], "getCompliancePack": Pack,
}  # fmt: skip
