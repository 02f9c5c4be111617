"""A tenant's settings for its messages."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from libs.common.contracts.values import Contract, known_currency
from libs.common.tenant_settings.forms import Brand, Locale, ServiceSettings, lender_of
from libs.compliance.house import House, house_of
from services.notifier.domain.message import Lender


class Price(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of one part of an SMS, in millionths of the currency unit: 0.0079 USD is 7900."""

    millionths: Annotated[int, Meta(ge=0, le=10**9)]
    currency: str

    def __post_init__(self) -> None:
        known_currency(self.currency)


class TenantSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of a tenant's settings for its messages."""

    brand: Brand | None = None
    default_locale: Locale | None = None
    sms_part_price: Price | None = None
    profile: Literal["strict", "legal_floor"] = "strict"
    role: Literal["first_party", "agency", "buyer"] = "first_party"
    tenant_hours: Annotated[dict[str, str], Meta(min_length=1, max_length=8)] | None = None
    dunning_a_day: Annotated[int, Meta(ge=1, le=100)] | None = 1
    link_channels: Annotated[
        tuple[Literal["sms", "email", "push", "inbox"], ...], Meta(max_length=4, description="whose messages carry a link to the page")
    ] = ("sms", "email", "push", "inbox")

    def __post_init__(self) -> None:
        _ = self.house

    @property
    def house(self) -> House:
        """Return how the gate should judge this tenant."""
        return house_of(self.profile, self.role, self.tenant_hours, self.dunning_a_day)

    def lender(self, tenant: str) -> Lender:
        """Return who speaks for this tenant."""
        brand = lender_of(self.brand, tenant)
        return Lender(brand.name, brand.contact)
