"""One account of every kind."""

from __future__ import annotations

from services.notifier.providers.wire import Account
from tests.unit.providers.values import an_account

ACCOUNTS: dict[str, Account] = {
    "twilio": an_account("twilio", {"account_sid": "AC" + "0" * 32, "auth_token": "tok"}, {"from": "+12025550100"}),
}
