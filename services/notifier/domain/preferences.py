"""What a borrower asked for: hours, channels, language. It can only narrow what the rules allow."""

from __future__ import annotations

from typing import Annotated, get_args

from msgspec import Meta, field

from libs.common.contracts.values import Contract
from libs.common.contracts.wallet_borrowers import ChannelName
from libs.common.tenant_settings.forms import Locale
from libs.compliance import Preferences

_EVERY_CHANNEL: frozenset[str] = frozenset(get_args(ChannelName))


class Quiet(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours without contact, in the borrower's own zone; if they end before they begin they run past midnight."""

    days: Annotated[tuple[str, ...], Meta(min_length=1, max_length=7, description="mon, mon-fri or every")] = ("every",)
    from_: str = field(name="from", default="00:00")
    to: str = "24:00"

    def __post_init__(self) -> None:
        Preferences.parse({"no_contact": [self.as_asked()]})

    def as_asked(self) -> dict[str, object]:
        """Return the hours as the gate reads them."""
        return {"days": self.days, "from": self.from_, "to": self.to}


class ChannelWishes(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Channels not to be used, or the only ones to be used."""

    never: tuple[ChannelName, ...] = ()
    only: tuple[ChannelName, ...] | None = None


class Wishes(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a borrower asked for; absent means not asked."""

    no_contact: Annotated[tuple[Quiet, ...], Meta(max_length=50)] = ()
    channels: ChannelWishes = ChannelWishes()
    language: Locale | None = None

    def preferences(self) -> Preferences:
        """Return the wishes as the gate takes them."""
        others = frozenset[str]() if self.channels.only is None else _EVERY_CHANNEL - frozenset(self.channels.only)
        return Preferences.parse(
            {"no_contact": [quiet.as_asked() for quiet in self.no_contact], "no_channels": sorted(others | frozenset(self.channels.never))}
        )
