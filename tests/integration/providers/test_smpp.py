"""SMS against an SMSC that is not ours, and with the connection cut."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from libs.common.clock import stopwatch
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.results import Accepted, Fault, NotSent, Refused, Result, Unknown
from services.notifier.providers.links import Written
from services.notifier.providers.smpp.provider import SmppProvider
from services.notifier.providers.smpp.session import Pace, Session
from tests.integration.providers.cutting import closed_port
from tests.integration.providers.proxy import Proxy, proxied
from tests.integration.providers.smsc import PARTLY, PATIENCE_S, REFUSES, SILENT, Centre, a_centre, a_link
from tests.integration.providers.tls import loopback_tls
from tests.unit.providers.values import NOW, a_message


@dataclass
class Ear:
    """Hears what an SMSC says."""

    words: list[Receipt | Written] = field(default_factory=list)
    broken: bool = False

    async def __call__(self, words: Sequence[Receipt | Written], _: bytes) -> None:
        if self.broken:
            raise ConnectionError
        self.words += words


@asynccontextmanager
async def linked(**settings: str) -> AsyncIterator[tuple[Centre, SmppProvider, Ear]]:
    ear = Ear()
    async with a_centre() as centre:
        provider = a_link(centre.port, ear, public_only=False, **settings)
        try:
            yield centre, provider, ear
        finally:
            await provider.close()


async def ended(provider: SmppProvider) -> None:
    assert provider._session is not None
    async with asyncio.timeout(PATIENCE_S):
        await provider._session._ended.wait()


def texts(count: int, to: str = "+12025550123", **changes: object) -> list[OutgoingMessage]:
    return [a_message("sms", to, id=f"m-{place}", **changes) for place in range(count)]


async def test_a_batch_is_taken_whole_each_once_with_its_end_and_a_wish_for_a_receipt() -> None:
    async with linked(window="5") as (centre, provider, _):
        results = await provider.deliver([a_message("sms", f"+1202555{place:04}", body=f"text {place}") for place in range(60)])
    assert all(isinstance(result, Accepted) for result in results)
    said = {one.destination_addr: one for one in centre.taken}
    assert Counter(one.destination_addr for one in centre.taken) == {f"1202555{place:04}": 1 for place in range(60)}
    one = said["12025550007"]
    assert (one.short_message, one.data_coding, one.registered_delivery) == (b"text 7", 0, 1)
    assert (one.source_addr, one.source_addr_ton, one.dest_addr_ton, one.dest_addr_npi) == ("Lender", 5, 1, 1)
    assert len(centre.bound) == 1


async def test_a_long_text_goes_in_parts_that_name_each_other_and_counts_as_one() -> None:
    body = "您的账单已逾期。" * 30
    async with linked() as (centre, provider, _):
        (result,) = await provider.deliver(texts(1, body=body))
    parts = sorted(centre.taken, key=lambda one: one.short_message[5])
    assert {(one.esm_class, one.data_coding) for one in parts} == {(0x40, 8)}
    assert "".join(one.short_message[6:].decode("utf-16-be") for one in parts) == body
    assert isinstance(result, Accepted)
    assert sorted(result.parts) == sorted(name.lower().lstrip("0") for name in centre.ids)
    assert len(result.parts) == len(parts) > 1


@pytest.mark.parametrize(
    ("status", "fault", "permanent"),
    [(0x0B, "invalid_address", True), (0x58, "throttled", False), (0x08, "provider", False), (0x65, "content", True)],
)
async def test_a_status_is_read_for_what_it_is(status: int, fault: Fault, permanent: bool) -> None:
    to = next(number for number, refused in REFUSES.items() if refused == status)
    async with linked() as (_, provider, _):
        results = await provider.deliver(texts(2, f"+{to}") + texts(1))
    assert results[:2] == [Refused(f"0x{status:02x}", fault, permanent=permanent)] * 2
    assert isinstance(results[2], Accepted)


async def test_a_message_of_which_only_a_part_was_taken_is_unknown() -> None:
    async with linked() as (_, provider, _):
        assert await provider.deliver(texts(1, f"+{PARTLY}", body="x" * 400)) == [Unknown("partial")]


async def test_an_smsc_that_does_not_answer_leaves_a_message_unknown_and_keeps_no_place_in_the_window() -> None:
    async with linked(window="1") as (centre, provider, _):
        await provider.listen()
        session = provider._session
        assert isinstance(session, Session)
        session.pace = Pace(window=1, answer_s=0.3)
        results = await provider.deliver(texts(1, f"+{SILENT}") + texts(1))
        for held in centre.held:
            held.accept("late")
    assert results[0] == Unknown("answer_timeout")
    assert isinstance(results[1], Accepted)


async def test_what_finds_no_place_in_the_window_until_it_had_to_start_is_not_submitted() -> None:
    async with linked(window="1") as (centre, provider, _):
        await provider.listen()
        assert provider._session is not None
        provider._session.pace = Pace(window=1, answer_s=0.5)
        results = await provider.deliver(texts(1, f"+{SILENT}") + texts(1, start_by=stopwatch() + 0.1))
        assert (results, len(centre.taken)) == ([Unknown("answer_timeout"), NotSent("no_slot")], 1)


async def test_a_message_whose_time_is_over_is_not_submitted() -> None:
    async with linked() as (centre, provider, _):
        assert await provider.deliver(texts(1, deadline=NOW)) == [Refused("too_late", "provider", permanent=False)]
        assert centre.taken == []


async def test_a_receipt_is_answered_only_when_it_is_kept_and_a_reply_is_heard_too() -> None:
    async with linked() as (centre, provider, ear):
        await provider.deliver(texts(1))
        ear.broken = True
        assert await centre.report("a00000", "DELIVRD") == 0x64
        ear.broken = False
        assert await centre.report("A00000", "DELIVRD") == 0
        assert await centre.write("STOP") == 0
    assert [word.standing for word in ear.words if isinstance(word, Receipt)] == [Standing.DELIVERED]
    assert isinstance(heard := ear.words[-1], Written)
    assert (heard.address, heard.to, heard.said) == ("12025550123", "Lender", "STOP")


async def test_a_connection_that_is_lost_is_made_anew_and_receipts_come_without_anything_being_sent() -> None:
    ear = Ear()
    async with a_centre() as centre, proxied(Proxy(centre.port)) as proxy:
        provider = a_link(proxy.port, ear)
        await provider.listen()
        await centre.has_bound(1)
        assert await centre.write("STOP") == 0
        proxy.drop()
        await proxy.served()
        await ended(provider)
        await provider.listen()
        await centre.has_bound(2)
        assert await centre.write("STOP") == 0
        assert await centre.report("1", "DELIVRD") == 0
        await provider.close()
    assert (proxy.connections, len(ear.words)) == (2, 3)
    assert len({word.under for word in ear.words if isinstance(word, Written)}) == 2, "said again, it is another word"


async def test_a_link_that_is_silent_is_tried_and_given_up_when_it_is_dead() -> None:
    deaf = asyncio.Event()

    async def bound_and_deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(1000)
        writer.write((17).to_bytes(4) + (0x80000009).to_bytes(4) + bytes(4) + request[12:16] + b"\0")
        await deaf.wait()
        writer.close()

    server = await asyncio.start_server(bound_and_deaf, "127.0.0.1", 0)
    provider = a_link(server.sockets[0].getsockname()[1], Ear())
    provider.smsc = replace(provider.smsc, pace=Pace(quiet_s=0.1, link_s=0.2))
    await provider.listen()
    await ended(provider)
    deaf.set()
    await provider.close()
    server.close()


async def test_a_bind_goes_over_tls_and_to_nobody_whose_certificate_is_not_the_hosts() -> None:
    server_tls, client_tls = loopback_tls()
    async with a_centre() as centre, proxied(Proxy(centre.port), server_tls) as proxy:
        for context, expected in ((client_tls, Accepted), (None, NotSent)):
            provider = a_link(proxy.port, Ear(), tls="implicit")
            provider.context = context or provider.context
            (result,) = await provider.deliver(texts(1))
            assert isinstance(result, expected), result
            await provider.close()
    assert result == NotSent("tls_failed")
    assert len(centre.bound) == 1


async def test_a_bind_that_is_refused_is_a_fault_of_the_configuration_and_not_tried_again_at_once() -> None:
    binds: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(1000)
        binds.append(request)
        writer.write((17).to_bytes(4) + (0x80000009).to_bytes(4) + (0x0E).to_bytes(4) + request[12:16] + b"\0")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    provider = a_link(server.sockets[0].getsockname()[1], Ear())
    results = [*await provider.deliver(texts(3)), *await provider.deliver(texts(3))]
    assert results == [Refused("0x0e", "config", permanent=False)] * 6
    assert len(binds) == 1
    await provider.close()
    server.close()


async def test_an_smsc_that_is_away_was_not_sent_anything() -> None:
    provider = a_link(closed_port(), Ear())
    assert await provider.deliver(texts(3)) == [NotSent("connect_failed")] * 3
    await provider.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1"])
async def test_only_public_smscs_are_called_where_a_tenant_names_them(host: str) -> None:
    async with a_centre() as centre:
        provider = a_link(centre.port, Ear(), host=host, public_only=True)
        assert await provider.deliver(texts(1)) == [NotSent("address_not_public")]
        assert centre.bound == []
        await provider.close()


async def test_a_connection_that_is_cut_at_any_byte_sends_nothing_twice_and_loses_nothing() -> None:
    found: dict[str, Result] = {}
    async with a_centre() as centre:
        requested, answered = await _length(centre.port)
        for direction, most in (("request", requested), ("answer", answered)):
            for at in range(most):
                proxy = Proxy(centre.port, request=at) if direction == "request" else Proxy(centre.port, answer=at)
                found.update(await _after_a_cut(proxy, f"{direction} {at:04}"))
        taken = Counter(one.short_message.decode() for one in centre.taken)
    for said, result in found.items():
        match result:
            case Accepted() | NotSent():
                assert taken[said] == 1, (said, result)
            case Unknown():
                assert taken[said] <= 1, (said, result)
            case Refused():
                assert taken[said] == 0, (said, result)
    assert {type(result) for result in found.values()} == {Accepted, NotSent, Unknown}
    assert {taken[said] for said, result in found.items() if isinstance(result, Unknown)} == {0, 1}


def _two(about: str) -> list[OutgoingMessage]:
    return [a_message("sms", id=f"{about} {place}", body=f"{about} {place}") for place in range(2)]


async def _length(port: int) -> tuple[int, int]:
    async with proxied(Proxy(port)) as proxy:
        await _deliver(proxy.port, _two("whole 0000"))
    return proxy.requested, proxy.answered


async def _deliver(port: int, batch: list[OutgoingMessage]) -> list[Result]:
    provider = a_link(port, Ear(), window="1")
    try:
        return await provider.deliver(batch)
    finally:
        await provider.close()


async def _after_a_cut(proxy: Proxy, about: str) -> dict[str, Result]:
    batch = _two(about)
    async with proxied(proxy):
        results = await _deliver(proxy.port, batch)
    again = [one for one, result in zip(batch, results, strict=True) if isinstance(result, NotSent)]
    if again:
        assert all(isinstance(result, Accepted) for result in await _deliver(proxy.server, again))
    return {one.body: result for one, result in zip(batch, results, strict=True)}
