"""The wallet's webhook: the specification's own library verifies what we sign."""

from __future__ import annotations

import base64
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import webhooks

from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import webhook
from services.notifier.providers.wire import UnfitError
from tests.unit.providers.values import NOW, a_message, an_account, an_answer

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
URL = "https://wallet.example/messages"
ACCOUNT = an_account("webhook", {"secret": SECRET}, {"url": URL})


@given(body=st.text(max_size=200), key=st.binary(min_size=24, max_size=64), prefixed=st.booleans())
def test_what_is_signed_the_library_of_the_specification_believes(body: str, key: bytes, prefixed: bool) -> None:
    secret = ("whsec_" if prefixed else "") + base64.b64encode(key).decode()
    call = webhook.request(a_message("inbox", "w1", body=body), an_account("webhook", {"secret": secret}, {"url": URL}), NOW)
    verifier = webhooks.Webhook(secret)
    signed = verifier.sign(call.headers["webhook-id"], NOW, call.body.decode())
    assert call.headers["webhook-signature"] == signed
    assert call.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert msgspec.json.decode(call.body)["data"]["body"] == body


def test_the_id_is_the_contacts_whichever_attempt_it_is() -> None:
    calls = [webhook.request(a_message("inbox", "w1", id=name), ACCOUNT, NOW + timedelta(hours=hour)) for hour, name in enumerate("ab")]
    assert len({call.headers["webhook-id"] for call in calls}) == 1
    other = webhook.request(a_message("inbox", "w1", task_id="other"), ACCOUNT, NOW)
    assert other.headers["webhook-id"] != calls[0].headers["webhook-id"]


@pytest.mark.parametrize("url", ["http://wallet.example/", "ftp://wallet.example/", "wallet.example"])
def test_only_https_is_called(url: str) -> None:
    with pytest.raises(UnfitError):
        webhook.request(a_message("inbox"), an_account("webhook", {"secret": SECRET}, {"url": url}), NOW)
    assert webhook.ADAPTER.public_only


@pytest.mark.parametrize(
    ("status", "headers", "result"),
    [
        (200, {}, Accepted("")),
        (204, {}, Accepted("")),
        (302, {}, Refused("http_302", "config", permanent=False)),
        (400, {}, Refused("http_400", "content")),
        (409, {}, Unknown("http_409")),
        (410, {}, Refused("http_410", "config", permanent=False)),
        (418, {}, Refused("http_418", "provider", permanent=False)),
        (429, {"retry_after": "5"}, Refused("http_429", "throttled", permanent=False, retry_after=timedelta(seconds=5))),
        (503, {"retry_after": "5"}, Refused("503 retry-after", "throttled", permanent=False, retry_after=timedelta(seconds=5))),
        (503, {}, Unknown("http_503")),
        (500, {"retry_after": "5"}, Unknown("http_500")),
    ],
)
def test_answers_are_read_by_their_status(status: int, headers: dict[str, str], result: object) -> None:
    assert webhook.read(an_answer(status, b"", **headers)) == result


def test_a_name_that_the_wallet_gives_is_kept() -> None:
    assert webhook.read(an_answer(200, {"id": "w-7"})) == Accepted("w-7")
