"""What a tenant sets for its borrowers' pages."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from libs.common.tenant_settings.forms import Brand, Locale, ServiceSettings, lender_of

LOAN = "{loan_id}"
_Url = Annotated[
    str, Meta(max_length=1000, pattern=r"^https://[^\s\\\"'<>]+$(?!\n)", description="`{loan_id}` in it stands for the debt being paid")
]


class PageSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page's settings; without a `pay_url` the page has no pay button."""

    brand: Brand | None = None
    default_locale: Locale | None = None
    pay_url: _Url | None = None

    def lender(self, tenant: str) -> Brand:
        """Return the lender's brand for a tenant."""
        return lender_of(self.brand, tenant)
