"""Mail against servers that are not ours: Exim, which pipelines, and one that takes a command at a time; and with the connection cut."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes

import pytest

from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown
from services.notifier.providers.smtp.provider import SmtpProvider
from tests.integration.providers.cutting import closed_port
from tests.integration.providers.proxy import Proxy, proxied
from tests.integration.providers.relays import PlainServer, a_relay, id_of, mails, only, plain_server
from tests.integration.providers.tls import loopback_tls
from tests.support.exim import Exim
from tests.unit.providers.values import NOW, a_message

AT_ONCE = 16
TWO = 2


async def delivered(provider: SmtpProvider, batch: list) -> list[Result]:  # type: ignore[type-arg]
    try:
        return await provider.deliver(batch)
    finally:
        await provider.close()


async def test_a_batch_is_taken_whole_each_mail_once_and_as_it_was_said(exim: Exim) -> None:
    batch = mails(50, named="whole", body=".\r\n..\r\n. dots \n.", html="<p>für dich</p>")
    results = await delivered(a_relay(exim.port), batch)
    assert all(isinstance(result, Accepted) for result in results)
    taken = {id_of(mail): mail for _, mail in exim.mails() if id_of(mail).startswith("whole-")}
    assert Counter(id_of(mail) for _, mail in exim.mails() if id_of(mail) in taken) == dict.fromkeys((one.id for one in batch), 1)
    for place, result in enumerate(results):
        mail = taken[f"whole-{place}"]
        assert isinstance(result, Accepted)
        assert result.provider_ref in str(mail["Received"])
        assert [part.get_content().rstrip("\n") for part in mail.iter_parts()] == [".\n..\n. dots \n.", "<p>für dich</p>"]


@pytest.mark.parametrize(
    ("to", "body", "expected"),
    [
        ("gone@x.example", "x", Refused("550 5.1.1", "invalid_address")),
        ("grey@x.example", "x", Refused("451 4.7.1", "throttled_recipient", permanent=False, retry_after=timedelta(seconds=300))),
        ("b@x.example", "XSPAMX", Refused("550 5.7.1", "content")),
    ],
)
async def test_what_one_recipient_or_text_is_refused_for_holds_up_no_other(exim: Exim, to: str, body: str, expected: Refused) -> None:
    batch = [mail for pair in zip(mails(5, named=f"r-{to[:4]}"), mails(5, named=f"bad-{to[:4]}", body=body), strict=True) for mail in pair]
    batch = [replace(mail, to=to) if mail.id.startswith("bad") else mail for mail in batch]
    results = await delivered(a_relay(exim.port, connections="1"), batch)
    assert [isinstance(result, Accepted) for result in results] == [True, False] * 5
    assert set(results[1::2]) == {expected}


CUTS = ("request", "answer")


async def after_a_cut(server: int, named: str, cut: Callable[[int], Proxy], *, lanes: str = "1") -> dict[str, Result]:
    """Send two mails through a proxy that cuts, then once more what surely was not sent, as a sender does."""
    batch = mails(TWO, named=named, body="Hello")
    async with proxied(cut(server)) as proxy:
        results = await delivered(a_relay(proxy.port, connections=lanes), batch)
    again = [mail for mail, result in zip(batch, results, strict=True) if isinstance(result, NotSent)]
    if again:
        results_again = dict(zip((mail.id for mail in again), await delivered(a_relay(server), again), strict=True))
        assert all(isinstance(result, Accepted) for result in results_again.values())
    return {mail.id: result for mail, result in zip(batch, results, strict=True)}


async def length_of_a_dialogue(server: int) -> tuple[int, int]:
    async with proxied(Proxy(server)) as proxy:
        results = await delivered(a_relay(proxy.port, connections="1"), mails(TWO, named="request-1000", body="Hello"))
    assert all(isinstance(result, Accepted) for result in results)
    return proxy.requested, proxy.answered


async def every_cut(server: int) -> dict[str, Result]:
    """Return what became of each mail, with the connection cut after every byte of what we say and of what the server says."""
    requested, answered = await length_of_a_dialogue(server)
    places = [("request", at) for at in range(requested)] + [("answer", at) for at in range(answered)]
    slots = asyncio.Semaphore(AT_ONCE)
    found: dict[str, Result] = {}

    async def one(direction: str, at: int) -> None:
        async with slots:
            made = Proxy(0, **{direction: at})
            found.update(await after_a_cut(server, f"{direction}-{at:04}", lambda to: replace(made, server=to)))

    await asyncio.gather(*(one(*place) for place in places))
    assert len(found) == TWO * len(places)
    return found


def judge(found: dict[str, Result], taken: Counter[str]) -> None:
    """Nothing twice; what is accepted is there, and what surely was not sent came only by being sent once more."""
    for name, result in found.items():
        match result:
            case Accepted() | NotSent():
                assert taken[name] == 1, (name, result)
            case Unknown():
                assert taken[name] <= 1, (name, result)
            case Refused():
                assert taken[name] == 0, (name, result)
    kinds = Counter(type(result).__name__ for result in found.values())
    assert set(kinds) == {"Accepted", "NotSent", "Unknown"}
    there = [taken[name] for name, result in found.items() if isinstance(result, Unknown)]
    assert set(there) == {0, 1}  # both happen: nothing else could be said of them


@pytest.mark.timeout(300)
async def test_a_pipelined_dialogue_that_is_cut_at_any_byte_sends_nothing_twice_and_loses_nothing(exim: Exim) -> None:
    found = await every_cut(exim.port)
    judge(found, Counter(id_of(mail) for _, mail in exim.mails()))


@pytest.mark.timeout(300)
async def test_a_plain_dialogue_that_is_cut_at_any_byte_sends_nothing_twice_and_loses_nothing() -> None:
    async with plain_server(PlainServer()) as server:
        found = await every_cut(server.port)
        judge(found, Counter(id_of(message_from_bytes(bytes(envelope.content or b""))) for envelope in server.taken))
