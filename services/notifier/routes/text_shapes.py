"""Response shapes of texts and packs, for OpenAPI; fields may be added but never removed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from libs.common.describing import Shapes


class TextProblem(Struct):
    """A problem that prevents using a text, or deserves a second look."""

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
    """A version of a text as written."""

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
    """A draft and its problems."""

    problems: list[TextProblem]


class TextInForce(Struct):
    """What is in use for a name, locale and channel."""

    name: str
    locale: str
    channel: str
    state: str
    version: int | None
    drafts: int


class SmsCost(Struct):
    """Exact in millionths of the currency's unit, and rounded up to the minor unit."""

    millionths: int
    amount: int
    currency: str


class SmsParts(Struct):
    """How an SMS is split; `forcing` are the characters missing from GSM 7."""

    encoding: str
    units: int
    parts: int
    texts: list[str]
    forcing: list[str] | str
    cost: SmsCost | None


class TextPreview(Struct):
    """How a text would read; without text if none could be made."""

    template: TextNamed
    subject: str | None
    body: str | None
    html: str | None
    sms: SmsParts | None
    asks: list[str]
    problems: list[TextProblem]


class PackInShort(Struct):
    """A summary of a jurisdiction's rules."""

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
    """A rule of a pack; fields specific to its kind may follow."""

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
