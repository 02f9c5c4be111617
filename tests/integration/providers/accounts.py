"""One account of every kind."""

from __future__ import annotations

from services.notifier.providers.wire import Account
from tests.unit.providers.values import an_account

ACCOUNTS: dict[str, Account] = {
    "twilio": an_account("twilio", {"account_sid": "AC" + "0" * 32, "auth_token": "tok"}, {"from": "+12025550100"}),
    "vonage": an_account(
        "vonage",
        {"api_key": "abcd1234", "api_secret": "abcdef0123456789", "signature_secret": "sig"},
        {"from": "Lender", "signature_method": "sha256"},
    ),
    "messagebird": an_account("messagebird", {"access_key": "live_1", "signing_key": "k" * 32}, {"from": "Lender"}),
}
