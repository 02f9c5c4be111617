"""What can be set of every service."""

from __future__ import annotations

from libs.common.contracts.values import Contract
from libs.common.webhooks.forms import Webhooks


class ServiceSettings(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part that all have; a service adds its own."""

    webhooks: Webhooks = ()
