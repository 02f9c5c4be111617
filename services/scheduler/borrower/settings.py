"""What a tenant sets for its borrowers' pages, and for its reports."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from libs.common.contracts.values import known_zone
from libs.common.tenant_settings.forms import Brand, Locale, ServiceSettings, lender_of

LOAN = "{loan_id}"
_Url = Annotated[
    str, Meta(max_length=1000, pattern=r"^https://[^\s\\\"'<>]+$(?!\n)", description="`{loan_id}` in it stands for the debt being paid")
]


class PageSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page's settings; without a `pay_url` the page has no pay button."""

    brand: Brand | None = None
    default_locale: Locale | None = None
    default_zone: Annotated[str, Meta(description="an IANA time zone: the days of reports that name none")] | None = None
    pay_url: _Url | None = None

    def __post_init__(self) -> None:
        known_zone(self.default_zone)

    def lender(self, tenant: str) -> Brand:
        """Return the lender's brand for a tenant."""
        return lender_of(self.brand, tenant)
