"""The borrower's page alongside a message in the wallet's app: for every kind that supports it, and only when there is a link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from services.notifier.domain.message import OutgoingMessage
from services.notifier.providers import apns, fcm, jpush, webhook
from services.notifier.providers.wire import Account, HttpCall
from tests.unit.providers.test_apns import READY as APNS
from tests.unit.providers.test_fcm import READY as FCM
from tests.unit.providers.test_jpush import ACCOUNT as JPUSH
from tests.unit.providers.values import NOW, a_message, an_account

LINK = "https://pay.example/b/" + "A" * 32
WEBHOOK = an_account("webhook", {"secret": "whsec_" + "QUFB" * 11}, {"url": "https://wallet.example/in"})
Request = Callable[[OutgoingMessage, Account, datetime], HttpCall]


@pytest.mark.parametrize(
    ("request_of", "account", "channel", "path"),
    [
        (fcm.request, FCM, "push", ("message", "data", "dunwell_link")),
        (apns.request, APNS, "push", ("dunwell_link",)),
        (jpush.request, JPUSH, "push", ("notification", "android", "extras", "dunwell_link")),
        (jpush.request, JPUSH, "push", ("notification", "ios", "extras", "dunwell_link")),
        (webhook.request, WEBHOOK, "inbox", ("data", "link")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_app_is_told_the_page_beside_the_text(request_of: Request, account: Account, channel: str, path: tuple[str, ...]) -> None:
    message = a_message(channel, "a" * 64)
    assert (_at(request_of(replace(message, link=LINK), account, NOW), path), _at(request_of(message, account, NOW), path)) == (LINK, None)


def _at(call: HttpCall, path: tuple[str, ...]) -> Any:
    said: Any = msgspec.json.decode(call.body)
    for name in path:
        said = said.get(name)
    return said
