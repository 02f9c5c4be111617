"""All kinds of providers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from services.notifier.providers import (
    africastalking,
    aliyun_sms,
    apns,
    aws_ses,
    aws_sms,
    fcm,
    jpush,
    messagebird,
    sendgrid,
    tencent_sms,
    twilio,
    vonage,
    webhook,
)
from services.notifier.providers.links import Link
from services.notifier.providers.smpp import provider as smpp
from services.notifier.providers.smtp import provider as smtp
from services.notifier.providers.wire import Adapter

_KINDS = (twilio, vonage, messagebird, sendgrid, aws_ses, aws_sms, fcm, webhook, aliyun_sms, tencent_sms, africastalking, apns, jpush)
ADAPTERS: Mapping[str, Adapter] = MappingProxyType({kind.ADAPTER.kind: kind.ADAPTER for kind in _KINDS})
"""Kinds reached over HTTP."""
LINKS: Mapping[str, Link] = MappingProxyType({one.LINK.kind: one.LINK for one in (smpp, smtp)})
"""Kinds reached over a connection of their own."""
ALL: Mapping[str, Adapter | Link] = MappingProxyType({**ADAPTERS, **LINKS})
