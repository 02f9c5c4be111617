"""Mail against servers that are not ours: Exim, which pipelines, and one that takes a command at a time; and with the connection cut."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes

import pytest

from libs.common.clock import stopwatch
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import NO_PERMIT, Accepted, NotSent, Refused, Result, Unknown
from services.notifier.providers.smtp.provider import SmtpProvider
from tests.integration.providers.cutting import closed_port
from tests.integration.providers.proxy import Proxy, proxied
from tests.integration.providers.relays import PlainServer, a_relay, id_of, mails, only, plain_server
from tests.integration.providers.tls import loopback_tls
from tests.support.exim import Exim
from tests.unit.providers.values import NOW, a_message

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:aiosmtpd", "ignore::DeprecationWarning:aiosmtpd")
AT_ONCE = 16
TWO = 2


async def delivered(provider: SmtpProvider, batch: Sequence[OutgoingMessage]) -> list[Result]:
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


async def after_a_cut(proxy: Proxy, named: str) -> dict[str, Result]:
    """Send two mails through a proxy that cuts, then once more what surely was not sent, as a sender does."""
    batch = mails(TWO, named=named, body="Hello")
    async with proxied(proxy):
        results = await delivered(a_relay(proxy.port, connections="1"), batch)
    again = [mail for mail, result in zip(batch, results, strict=True) if isinstance(result, NotSent)]
    if again:
        results_again = dict(zip((mail.id for mail in again), await delivered(a_relay(proxy.server), again), strict=True))
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
            proxy = Proxy(server, request=at) if direction == "request" else Proxy(server, answer=at)
            found.update(await after_a_cut(proxy, f"{direction}-{at:04}"))

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
        judge(found, Counter(id_of(message_from_bytes(envelope.original_content or b"")) for envelope in server.taken))


async def test_a_connection_that_was_kept_too_long_costs_no_mail_and_no_attempt() -> None:
    async with plain_server(PlainServer()) as server, proxied(Proxy(server.port)) as proxy:
        provider = a_relay(proxy.port, connections="1")
        first = await provider.deliver(mails(1, named="first"))
        proxy.drop()  # it cannot know before it has written
        second = await delivered(provider, mails(2, named="second"))
    assert [type(result) for result in first + second] == [Accepted] * 3
    assert len(server.taken) == 3


async def test_a_kept_connection_is_used_again_and_closed_when_the_account_is_retired() -> None:
    async with plain_server(PlainServer()) as server, proxied(Proxy(server.port)) as proxy:
        provider = a_relay(proxy.port)
        for _ in range(3):
            await provider.deliver(mails(1))
        assert proxy.connections == 1
        await provider.retire()
        await proxy.served()
        assert proxy.ended
        assert [type(result) for result in await provider.deliver(mails(1))] == [Accepted]
        await proxy.served()
        assert (proxy.connections, proxy.ended) == (2, True)


async def test_no_more_connections_are_made_than_allowed() -> None:
    async with plain_server(PlainServer()) as server:
        results = await delivered(a_relay(server.port, connections="3"), mails(100))
    assert all(isinstance(result, Accepted) for result in results)
    assert server.connections == 3


async def test_a_server_without_pipelining_is_asked_one_thing_at_a_time_and_cleaned_up_after_a_refusal() -> None:
    def says(stage: str, to: str) -> str | None:
        return "550 5.1.1 unknown" if (stage, to) == ("rcpt", "gone@x.example") else None

    async with plain_server(PlainServer(says=says)) as server:
        batch = [a_message("email", to, id=f"p-{to[0]}") for to in ("a@x.example", "gone@x.example", "c@x.example")]
        results = await delivered(a_relay(server.port, connections="1"), batch)
    assert [type(result) for result in results] == [Accepted, Refused, Accepted]
    assert [command.partition(" ")[0] for command in server.commands] == ["MAIL", "RCPT", "MAIL", "RCPT", "RSET", "MAIL", "RCPT"]


async def test_a_connection_that_the_server_wants_to_end_is_replaced_and_its_mail_goes_on() -> None:
    said = iter([None, None, "421 4.3.2 enough of this connection", None, None])

    def says(stage: str, _: str) -> str | None:
        return next(said) if stage == "mail" else None

    async with plain_server(PlainServer(says=says)) as server:
        results = await delivered(a_relay(server.port, connections="1"), mails(4))
    assert [type(result) for result in results] == [Accepted] * 4
    assert server.connections == 2


async def test_a_server_that_has_no_room_for_a_first_mail_has_refused_it_for_now() -> None:
    async with plain_server(PlainServer(says=lambda stage, _: "421 4.7.0 too many from you" if stage == "mail" else None)) as server:
        (result,) = await delivered(a_relay(server.port), mails(1))
    assert result == Refused("421 4.7.0", "throttled", permanent=False)


@pytest.mark.parametrize("implicit", [True, False])
async def test_login_goes_over_tls_whether_from_the_first_byte_or_by_starttls(implicit: bool) -> None:
    server_tls, client_tls = loopback_tls()
    options = {"ssl": server_tls} if implicit else {"tls_context": server_tls, "require_starttls": True}
    checked = only("lender", "right")
    async with plain_server(PlainServer(), **options, authenticator=checked, auth_required=True, auth_require_tls=not implicit) as server:
        for password, expected in (("right", Accepted), ("wrong", Refused)):
            provider = a_relay(server.port, client_tls, tls="implicit" if implicit else "starttls", username="lender", password=password)
            (result,) = await delivered(provider, mails(1))
            assert type(result) is expected, result
    assert isinstance(result, Refused)
    assert (result.fault, result.permanent, result.code) == ("config", False, "535 5.7.8")


async def test_a_refused_login_is_not_tried_by_every_mail_of_a_batch() -> None:
    server_tls, client_tls = loopback_tls()
    tries: list[object] = []

    def check(*said: object) -> object:
        tries.append(said)
        return only("lender", "right")(*said)

    async with plain_server(PlainServer(), ssl=server_tls, authenticator=check, auth_required=True, auth_require_tls=False) as server:
        provider = a_relay(server.port, client_tls, tls="implicit", username="lender", password="wrong")
        results = [*await provider.deliver(mails(50)), *await provider.deliver(mails(50))]
    assert len(tries) == 2  # the two methods that the server offers, on one connection
    assert {(type(result), result.code) for result in results if isinstance(result, Refused)} == {(Refused, "535 5.7.8")}
    assert len(results) == 100


async def test_a_server_that_offers_no_tls_is_given_nothing() -> None:
    async with plain_server(PlainServer()) as server:
        (result,) = await delivered(a_relay(server.port, loopback_tls()[1], tls="starttls"), mails(1))
    assert result == Refused("starttls_or_auth_not_offered", "config", permanent=False)


async def test_a_certificate_that_is_not_the_hosts_is_given_nothing() -> None:
    async with plain_server(PlainServer(), ssl=loopback_tls()[0]) as server:
        (result,) = await delivered(a_relay(server.port, tls="implicit"), mails(1))
    assert result == NotSent("tls_failed")


async def test_a_relay_that_is_away_was_not_sent_anything_and_is_asked_once() -> None:
    results = await delivered(a_relay(closed_port()), mails(100))
    assert results == [NotSent("connect_failed")] * 100


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "10.0.0.1", "169.254.169.254"])
async def test_only_public_relays_are_called_where_a_tenant_names_them(host: str) -> None:
    async with plain_server(PlainServer()) as server:
        results = await delivered(a_relay(server.port, host=host, public_only=True), mails(1))
        assert (results, server.connections) == ([NotSent("address_not_public")], 0)


async def test_of_mails_that_had_to_start_before_only_the_one_is_begun_that_a_connection_was_asked_for() -> None:
    until = stopwatch() + 0.05

    def slowly(_: str, __: str) -> None:
        while stopwatch() <= until:
            pass

    async with plain_server(PlainServer(says=slowly)) as server:
        late, others = mails(1, start_by=stopwatch() - 1), mails(2, named="n", start_by=until)
        results = await delivered(a_relay(server.port, connections="1"), [*late, *others])
    assert [isinstance(result, Accepted) for result in results] == [False, True, False]
    assert {results[0], results[2]} == {NotSent(NO_PERMIT)}
    assert len(server.taken) == 1


async def test_a_mail_whose_time_is_over_is_not_handed_over() -> None:
    async with plain_server(PlainServer()) as server:
        results = await delivered(a_relay(server.port), [*mails(1, deadline=NOW), *mails(1, named="n")])
    assert results[0] == Refused("too_late", "provider", permanent=False)
    assert len(server.taken) == 1


async def test_an_address_that_the_server_cannot_take_is_refused_and_one_with_a_domain_of_any_script_goes() -> None:
    batch = [
        a_message("email", to) for to in ("jürgen@x.example", "b@bücher.example", "b@x.example\r\nRCPT TO:<c@x.example>", "b\0@x.example")
    ]
    async with plain_server(PlainServer()) as server:
        results = await delivered(a_relay(server.port, connections="1"), batch)
    assert results[0] == Refused("smtputf8_not_offered", "recipient")
    assert isinstance(results[1], Accepted)
    assert results[2:] == [Refused("invalid_mailbox", "invalid_address")] * 2
    assert [envelope.rcpt_tos for envelope in server.taken] == [["b@xn--bcher-kva.example"]]


async def test_a_local_part_of_any_script_goes_where_the_server_knows_it(exim: Exim) -> None:
    (result,) = await delivered(a_relay(exim.port), [a_message("email", "jürgen@x.example", id="utf8-1")])
    assert isinstance(result, Accepted)


async def test_a_mail_that_is_larger_than_the_server_takes_is_refused_and_not_offered() -> None:
    async with plain_server(PlainServer(), data_size_limit=5000) as server:
        (result,) = await delivered(a_relay(server.port), mails(1, body="x" * 6000))
    assert result == Refused("too_big", "content")
    assert server.commands == []


async def test_an_answer_that_does_not_come_leaves_one_mail_unknown_and_the_others_not_sent() -> None:
    waiting = asyncio.Event()

    class Silent(PlainServer):
        async def handle_DATA(self, *_: object) -> str:  # noqa: N802  # named by the library
            await waiting.wait()
            return "250 OK"

    async with plain_server(Silent()) as server:
        results = await delivered(a_relay(server.port, connections="1", timeout_s="1"), mails(1))
        waiting.set()
    assert results == [Unknown("answer_timeout")]


async def test_a_reply_that_is_none_leaves_a_mail_unknown() -> None:
    async with plain_server(PlainServer(says=lambda stage, _: "hello there" if stage == "end" else None)) as server:
        (result,) = await delivered(a_relay(server.port), mails(1))
    assert isinstance(result, Unknown)
