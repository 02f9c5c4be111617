"""What a provider says of a message it was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

NO_PERMIT = "no_permit"
"""Why a message was not sent whose moment, or whose time to start, had passed before it could: it is due again at once."""
OURS = frozenset(
    {
        NO_PERMIT, "no_slot", "address_unreadable", "request_unmakeable", "mail_unmakeable", "sms_unmakeable", "in_doubt", "too_late",
        "no_approved_text", "no_such_value",
    }
)  # fmt: skip
"""Codes of what we could not do ourselves: they say nothing of the provider."""

Fault = Literal[
    "none", "recipient", "content", "provider", "config", "throttled", "throttled_recipient", "throttled_content", "opted_out",
    "invalid_address", "complained", "destination",
]  # fmt: skip
"""Whose fault it is. `config` is of the whole account, `destination` of the account and the country or the number.
`throttled` is the account's or the sender's; the recipient's and the content's say nothing of the provider."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has taken it over; `receipt` is `delivered` where it says so at once."""

    provider_ref: str
    receipt: str | None = None
    parts: tuple[str, ...] = ()
    """Its names for the parts, where it will speak of each by that alone."""
    spelled: tuple[str, ...] = ()
    """These names letter by letter as it gave them, where it can be asked about a part by that."""


LONGEST_WORD = 500
"""Characters of a provider's name or code: an index takes no longer ones."""


def kept_word(said: str) -> str:
    """Return a name or a code of a provider as tables take it, whatever it is: one that nobody can write down would stop everybody."""
    return said if len(said) <= LONGEST_WORD and "\0" not in said else said.replace("\0", "")[:LONGEST_WORD]


def name_of(parts: Sequence[str]) -> str:
    """Return a name for a message whose parts have these: that of its only part, else one that no part has."""
    return parts[0] if len(parts) == 1 else f"{parts[0]}+{len(parts) - 1}"


@dataclass(frozen=True, slots=True)
class Refused:
    """It surely did not go out: for good (`permanent`), or for now, and then not before `retry_after` where the provider names one."""

    code: str
    fault: Fault
    permanent: bool = True
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say whether it went out."""

    why: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not a byte of it was written: trying again is safe."""

    why: str

    @property
    def fault(self) -> Fault:
        """Return whose fault it is."""
        return "none" if self.why in OURS else "provider"


Result = Accepted | Refused | Unknown | NotSent


def in_kept_words(result: Result) -> Result:
    """Return a result whose names and codes are kept as they are."""
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
