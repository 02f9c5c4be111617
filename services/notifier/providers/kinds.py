"""All kinds of providers that are reached over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from services.notifier.providers import aws_ses, aws_sms, fcm, messagebird, sendgrid, twilio, vonage, webhook
from services.notifier.providers.wire import Adapter

_KINDS = (twilio, vonage, messagebird, sendgrid, aws_ses, aws_sms, fcm, webhook)
ADAPTERS: Mapping[str, Adapter] = MappingProxyType({kind.ADAPTER.kind: kind.ADAPTER for kind in _KINDS})
