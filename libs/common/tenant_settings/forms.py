"""Settings that every service has, and parts that several share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from libs.common.contracts.values import WITHOUT_NUL, Contract
from libs.common.webhooks.forms import Webhooks

UNNAMED = {"default": "Dunwell"}
"""The lender's name for the tenant of one-process mode while it has no brand; any other tenant is named by its id."""

Locale = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}$(?!\n)", description="a BCP 47 locale: zh-Hant-TW")]
_Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=WITHOUT_NUL)]


class Brand(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lender's name as its borrowers know it, and how they reach it."""

    name: _Name
    contact: _Name | None = None


class ServiceSettings(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings that all services have; each adds its own."""

    webhooks: Webhooks = ()


def lender_of(brand: Brand | None, tenant: str) -> Brand:
    """Return who speaks for a tenant."""
    return brand or Brand(name=UNNAMED.get(tenant, tenant))
