"""A token is fetched once for all, before it expires and after it was refused; without one nothing is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from libs.common.clock import DrivenClock
from services.notifier.domain.results import Accepted, NotSent, Refused, Result
from services.notifier.providers import fcm
from services.notifier.providers.carrier import Carrier
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.http import HttpProvider
from services.notifier.providers.wire import Account, Answer, HttpCall
from tests.integration.providers.accounts import ACCOUNTS
from tests.integration.providers.cutting import closed_port
from tests.unit.providers.values import NOW, a_message


class Counting(FakeProviders):
    """A fake that counts the tokens it was asked for, and knows one of them no more."""

    asked = 0
    revoked = False

    def answer(self, name: str, call: HttpCall) -> Answer:
        if call.url.endswith("/token"):
            Counting.asked += 1
            Counting.revoked = False
        elif Counting.revoked:
            return Answer(401, {}, b"")
        return super().answer(name, call)


async def test_a_token_is_fetched_once_and_again_before_it_expires_and_after_it_was_refused() -> None:
    Counting.asked = 0
    clock = DrivenClock(NOW)
    messages = [a_message("push", f"token-{place}", deadline=None) for place in range(30)]
    async with Counting({"fcm": ACCOUNTS["fcm"]}).served() as fake:
        provider = HttpProvider(fake.account("fcm"), fcm.ADAPTER, Carrier(), clock)
        assert all(isinstance(result, Accepted) for result in await provider.deliver(messages))
        assert Counting.asked == 1
        clock.advance(timedelta(seconds=3599) - timedelta(minutes=3))
        await provider.deliver(messages)
        assert Counting.asked == 1
        clock.advance(timedelta(minutes=2))
        await provider.deliver(messages)
        assert Counting.asked == 2
        Counting.revoked = True
        assert all(isinstance(result, Accepted) for result in await provider.deliver(messages))
        assert Counting.asked == 3
        await provider.close()


@pytest.mark.parametrize(("status", "result"), [(401, Refused("http_401", "config", permanent=False)), (429, NotSent("no_token"))])
async def test_only_an_answer_against_the_account_is_its_fault(status: int, result: Result) -> None:
    class Refusing(FakeProviders):
        def answer(self, name: str, call: HttpCall) -> Answer:
            return Answer(status, {}, b"") if status == 429 or not call.url.endswith("/token") else super().answer(name, call)

    async with Refusing({"fcm": ACCOUNTS["fcm"]}).served() as fake:
        provider, results = await result_of(fake.account("fcm"), DrivenClock(NOW))
        assert results == {result}
        await provider.close()


async def result_of(account: Account, clock: DrivenClock) -> tuple[HttpProvider, set[object]]:
    provider = HttpProvider(account, fcm.ADAPTER, Carrier(), clock)
    return provider, set(await provider.deliver([a_message("push", "token-1", deadline=None)] * 5))


async def test_without_a_token_nothing_is_sent_and_one_is_not_asked_for_again_at_once() -> None:
    Counting.asked = 0
    clock = DrivenClock(NOW)
    wrong = replace(ACCOUNTS["fcm"], credentials={**ACCOUNTS["fcm"].credentials, "client_email": "else"})
    async with Counting({"fcm": ACCOUNTS["fcm"]}).served() as fake:
        provider, results = await result_of(replace(wrong, base_url=f"{fake.origin}/fcm"), clock)
        assert results == {Refused("token_refused", "config", permanent=False)}
        assert Counting.asked == 1
        clock.advance(timedelta(seconds=11))
        await provider.deliver([a_message("push", "token-1", deadline=None)])
        assert Counting.asked == 2
        assert fake.kept == []
        await provider.close()
    provider, results = await result_of(replace(wrong, base_url=f"http://127.0.0.1:{closed_port()}"), clock)
    assert results == {NotSent("no_token")}
    await provider.close()
