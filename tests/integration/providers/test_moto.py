"""Mail through an Amazon SES that is not ours: moto's, of what it knows of the service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import botocore.session
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from moto.ses.models import Message, ses_backends

from libs.common.clock import DrivenClock
from services.notifier.domain.results import Accepted, Refused
from services.notifier.providers import aws_ses
from services.notifier.providers.carrier import Carrier
from services.notifier.providers.http import HttpProvider
from tests.integration.providers.accounts import ACCOUNTS, AWS
from tests.unit.providers.values import NOW, a_message

ACCOUNT = ACCOUNTS["aws_ses"]
REGION = ACCOUNT.settings["region"]


@pytest.fixture
def ses() -> Iterator[str]:
    """The address of a service that knows nobody yet."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
        ses_backends.reset()


def verify(url: str, sender: str) -> None:
    """Make the sender an identity of the account."""
    client = botocore.session.Session().create_client(
        "sesv2", REGION, endpoint_url=url, aws_access_key_id=AWS["access_key_id"], aws_secret_access_key=AWS["secret_access_key"]
    )
    client.create_email_identity(EmailIdentity=sender)


def kept() -> list[Message]:
    """Return the mails that it has accepted."""
    found: list[Message] = ses_backends[DEFAULT_ACCOUNT_ID][REGION].sent_messages
    return found


async def test_a_mail_is_accepted_under_its_id_as_it_was_written(ses: str) -> None:
    verify(ses, ACCOUNT.settings["from"])
    provider = HttpProvider(replace(ACCOUNT, base_url=ses), aws_ses.ADAPTER, Carrier(), DrivenClock(NOW))
    messages = [
        a_message("email", f"b{number}@borrower.example", subject="Ihre Rate ist fällig", body="1.204,50 €") for number in range(20)
    ]
    results = await provider.deliver(messages)
    await provider.close()
    sent = kept()
    assert {result.provider_ref for result in results if isinstance(result, Accepted)} == {mail.id for mail in sent}
    assert {(*mail.destinations["ToAddresses"], mail.subject, mail.body) for mail in sent} == {
        (message.to, message.subject, message.body) for message in messages
    }


async def test_a_sender_that_the_account_has_not_verified_is_refused_and_not_tried_again(ses: str) -> None:
    provider = HttpProvider(replace(ACCOUNT, base_url=ses), aws_ses.ADAPTER, Carrier(), DrivenClock(NOW))
    result = (await provider.deliver([a_message("email", "b@borrower.example", subject="Hello")]))[0]
    await provider.close()
    assert isinstance(result, Refused)
    assert (result.code, result.permanent) == ("MessageRejected", True)
    assert kept() == []
