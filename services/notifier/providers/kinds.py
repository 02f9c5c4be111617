"""All kinds of providers that are reached over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from services.notifier.providers import messagebird, sendgrid, twilio, vonage, webhook
from services.notifier.providers.wire import Adapter

_ALL = (twilio.ADAPTER, vonage.ADAPTER, messagebird.ADAPTER, sendgrid.ADAPTER, webhook.ADAPTER)
ADAPTERS: Mapping[str, Adapter] = MappingProxyType({adapter.kind: adapter for adapter in _ALL})
