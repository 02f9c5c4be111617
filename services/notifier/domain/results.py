"""A provider's result for a message it was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

NO_PERMIT = "no_permit"
"""Why a message was not sent: its permit, or its time to start, had passed; it is due again at once."""
OURS = frozenset(
    {
        NO_PERMIT, "no_slot", "address_unreadable", "request_unmakeable", "mail_unmakeable", "sms_unmakeable", "in_doubt", "too_late",
        "no_approved_text", "no_such_value",
    }
)  # fmt: skip
"""Codes for our own failures: they say nothing about the provider."""

Fault = Literal[
    "none", "recipient", "content", "provider", "config", "throttled", "throttled_recipient", "throttled_content", "opted_out",
    "invalid_address", "complained",
]  # fmt: skip
"""Whose fault it is. `throttled` is about the account or sender; faults of recipient or content say nothing about the provider."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has accepted it; `receipt` is `delivered` if it says so at once."""

    provider_ref: str
    receipt: str | None = None
    parts: tuple[str, ...] = ()
    """The provider's names for the parts, if its receipts use only those."""
    spelled: tuple[str, ...] = ()
    """The same names exactly as given, if it can be asked about a part by name."""


LONGEST_WORD = 500
"""Longest name or code of a provider that is stored: indexes cannot hold longer ones."""


def kept_word(said: str) -> str:
    """Return a provider's name or code in a form that tables accept: one that could not be stored would block everything else."""
    return said if len(said) <= LONGEST_WORD and "\0" not in said else said.replace("\0", "")[:LONGEST_WORD]


def name_of(parts: Sequence[str]) -> str:
    """Return a name for a message whose parts have these names: that of its only part, or one that no part has."""
    return parts[0] if len(parts) == 1 else f"{parts[0]}+{len(parts) - 1}"


@dataclass(frozen=True, slots=True)
class Refused:
    """It surely did not go out: permanently, or for now, and then not to be retried before `retry_after` if the provider gives one."""

    code: str
    fault: Fault
    permanent: bool = True
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may or may not have gone out."""

    why: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not a byte of it was sent: trying again is safe."""

    why: str

    @property
    def fault(self) -> Fault:
        """Return whose fault it is."""
        return "none" if self.why in OURS else "provider"


Result = Accepted | Refused | Unknown | NotSent


def in_kept_words(result: Result) -> Result:
    """Return a result with its names and codes in the form in which they are stored."""
    match result:
        case Accepted(ref, _, ()) if kept_word(ref) is ref:
            return result
        case Accepted(ref, _, parts, spelled):
            parts, spelled = tuple(map(kept_word, parts)), tuple(map(kept_word, spelled))
            return replace(result, provider_ref=kept_word(ref), parts=parts, spelled=spelled)
        case Refused(code):
            return replace(result, code=kept_word(code))
        case Unknown(why) | NotSent(why):
            return replace(result, why=kept_word(why))
