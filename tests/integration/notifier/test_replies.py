"""Replies over HTTP: signed as the provider signs, stored once and sealed; their wishes apply from the very next claim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest

from libs.common.auth import Principal, add_key
from libs.common.cloudevents import Writer
from libs.common.contracts.catalogue import PROFILES
from libs.common.outbox import Outbox
from libs.common.sealing import Ring
from libs.compliance import Packs, load_packs
from libs.compliance.packs import parse_pack
from services.notifier.announcing import Announcer
from services.notifier.directory import Directory
from services.notifier.domain.receipts import Standing
from services.notifier.domain.replies import Inbound
from services.notifier.providers.codes import Meaning
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.fake.speaker import magic
from services.notifier.providers.twilio import signature
from services.notifier.providers.wire import Account, HttpCall
from services.notifier.replying import Listener
from services.notifier.service import Options
from services.notifier.store import accounts
from services.notifier.wording import languages
from tests.integration.notifier.test_provider_receipts import PUBLIC, a_sent_world, post, reported
from tests.integration.notifier.test_providers import CREDENTIALS, OPEN, REAL, a_wired_world, ask, put, route, twilio
from tests.integration.notifier.world import DIGEST_KEY, PRIVATE, TENANT, World, a_world
from tests.support.postgres import Databases


@asynccontextmanager
async def a_reached_world(databases: Databases, *others: str) -> AsyncIterator[tuple[World, FakeProviders, str]]:
    """A world in which a message went out to `b1` and to others who share the number, with the path for incoming replies."""
    async with a_wired_world(databases, public_url=PUBLIC) as (world, fake):
        await world.lift_the_days_limit()
        shown = await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        for borrower in ("b1", *others):
            await ask(world, borrower)
        await world.service.pump()
        yield world, fake, shown["inbound_url"]


async def reply(world: World, url: str, text: str, *, ref: str = "SM1", sender: str = REAL, **changes: Any) -> httpx.Response:
    body = urlencode({"MessageSid": ref, "From": sender, "To": "+12025550100", "Body": text, **changes.pop("fields", {})}).encode()
    signed = {"x-twilio-signature": signature(url, body, CREDENTIALS["auth_token"])}
    headers = {"content-type": "application/x-www-form-urlencoded", **signed, **changes.pop("headers", {})}
    return await world.call("POST", url.removeprefix(PUBLIC), content=body, headers=headers)


async def again(world: World, borrower: str, task: str, **changes: Any) -> dict[str, Any]:
    """Request another message, and return what became of it."""
    await world.request(borrower, task, channels=("sms",), jurisdictions=("TT",), **changes)
    await world.service.pump()
    return await world.delivery(borrower, task)


def texts(fake: FakeProviders) -> list[str]:
    return [taken.body for _, taken in fake.kept]


async def test_stop_ends_the_channel_for_everybody_with_the_number_and_is_confirmed_once(databases: Databases) -> None:
    async with a_reached_world(databases, "b2") as (world, fake, url):
        answer = await reply(world, url, "Stop!")
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/xml")
        assert "<Response/>" in answer.text
        await world.service.pump()
        assert [len(texts(fake)), "no more text messages" in texts(fake)[-1].lower()] == [3, True]
        assert world.outcomes("b1")[:3] == ["sent", "replied", "opted_out"]
        assert world.outcomes("b2")[:3] == ["sent", "replied", "opted_out"]
        for borrower in ("b1", "b2"):
            ended = await again(world, borrower, f"t-after-{borrower}")
            assert (ended["state"], ended["reason"]) == ("suppressed", "opt_out")
        await reply(world, url, "STOP", ref="SM2")
        await world.service.pump()
        assert len(fake.kept) == 3


@pytest.mark.parametrize(("meaning", "ground"), [(Meaning.OPTED_OUT, "opt_out"), (Meaning.INVALID_ADDRESS, "invalid_address")])
async def test_what_a_provider_refuses_because_of_the_person_is_not_tried_again(
    databases: Databases, meaning: Meaning, ground: str
) -> None:
    async with a_wired_world(databases, public_url=PUBLIC) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1", magic(meaning))
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == "failed"
        assert world.outcomes("b1") == (["failed", "opted_out"] if ground == "opt_out" else ["failed"])
        assert await world.scalar("select array_agg(ground || ' ' || source) from notifier.suppressions") == [f"{ground} answer"]
        ended = await again(world, "b1", "t-2")
        expected = ("suppressed", "opt_out") if ground == "opt_out" else ("failed", "no_address")
        assert (ended["state"], ended["reason"], ended["attempts"]) == (*expected, [])


async def test_an_address_that_is_none_is_used_again_once_it_is_verified_anew(databases: Databases) -> None:
    async with a_wired_world(databases, public_url=PUBLIC) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        number = magic(Meaning.INVALID_ADDRESS)
        await ask(world, "b1", number)
        await world.service.pump()
        world.clock.advance(timedelta(minutes=1))
        profile = world.a_profile("b1", {"sms": number}, jurisdictions=("TT",))
        anew = msgspec.structs.replace(profile.addresses[0], verified_at=world.clock.now())
        await world.hear(
            PROFILES, "borrower.profile.v1", msgspec.structs.replace(profile, addresses=(anew,)), borrower="b1", what="profile"
        )
        assert (await again(world, "b1", "t-2"))["attempts"][0]["provider"] == "main"
        assert (await again(world, "b1", "t-3"))["attempts"] == [], "it is none once more"


async def test_a_receipt_that_says_nobody_is_there_takes_the_address_out(databases: Databases) -> None:
    async with a_sent_world(databases) as (world, _, taken):
        report = reported(world, taken, Standing.FAILED)
        body = report.body.replace(b"30003", b"30005")
        url = report.url
        headers = {**report.headers, "x-twilio-signature": signature(url, body, CREDENTIALS["auth_token"])}
        assert (await post(world, HttpCall(url, headers, body))).json() == {"new": 1}
        assert await world.scalar("select array_agg(ground || ' ' || source) from notifier.suppressions") == ["invalid_address receipt"]
        ended = await again(world, "b1", "t-2")
        assert (ended["state"], ended["reason"]) == ("failed", "no_address")


async def standing(world: World, borrower: str = "b1") -> list[tuple[str, str, str]]:
    items = (await world.get(f"/v1/borrowers/{borrower}/suppressions"))["items"]
    return sorted((one["ground"], one["scope"], one["channel"]) for one in items if one["lifted_at"] is None)


@pytest.mark.parametrize(
    ("said", "suppressed", "reason", "outcomes"),
    [
        ("do not contact me", [("opt_out", "address", "sms"), ("opt_out", "person", "*")], "opt_out", ["replied", "opted_out"]),
        ("Stop, I paid", [("unclear", "person", "*")], "in_doubt", ["replied"]),
        ("This is harassment", [("complaint", "person", "*")], "complaint", ["replied", "complained"]),
        ("I will pay on Friday", [], None, ["replied"]),
        ("HELP", [], None, ["replied"]),
    ],
)
async def test_what_a_reply_wishes_is_done_before_the_next_message(
    databases: Databases, said: str, suppressed: list[tuple[str, str, str]], reason: str | None, outcomes: list[str]
) -> None:
    async with a_reached_world(databases) as (world, _, url):
        await reply(world, url, said)
        assert await standing(world) == suppressed
        ended = await again(world, "b1", "t-2")
        assert (ended["state"], ended["reason"]) == (("suppressed", reason) if reason else ("sent", None))
        told = [one.type.split(".")[1] for one in world.told if one.data.task_id == "t-b1"]
        assert told == ["sent", *outcomes]


async def test_who_wants_none_on_any_channel_gets_none_on_another(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, _, url):
        await world.profile("b1", addresses={"sms": REAL, "email": "li@example.org"}, jurisdictions=("TT",))
        await reply(world, url, "STOP")
        await world.request("b1", "t-2", channels=("sms", "email"), jurisdictions=("TT",))
        await world.service.pump()
        assert (await world.delivery("b1", "t-2"))["channel"] == "email"
        await reply(world, url, "STOP ALL", ref="SM2")
        await world.request("b1", "t-3", channels=("sms", "email"), jurisdictions=("TT",))
        await world.service.pump()
        assert (await world.delivery("b1", "t-3"))["state"] == "suppressed"


async def test_start_by_the_same_number_lifts_what_stop_did_and_nothing_else(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, _, url):
        await reply(world, url, "STOP")
        await reply(world, url, "START", ref="SM2", sender="+12025550199")
        assert await standing(world) == [("opt_out", "address", "sms")]
        await reply(world, url, "This is harassment", ref="SM3")
        await reply(world, url, "START", ref="SM4")
        assert await standing(world) == [("complaint", "person", "*")]
        assert (await again(world, "b1", "t-2"))["reason"] == "complaint"


async def test_start_lets_messages_go_again(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, _, url):
        await reply(world, url, "STOP")
        await reply(world, url, "START", ref="SM2")
        assert (await again(world, "b1", "t-2"))["state"] == "sent"


async def test_a_start_that_was_overtaken_by_a_later_stop_lifts_nothing(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, _, _):
        directory = Directory(
            world.engine, world.clock, world.settings.ring, world.settings.digest_key, builtin={}, public_url=None
        )  # fmt: skip
        announcer = Announcer(Writer("test", world.bus.partitions))
        listener = Listener(world.engine, world.clock, Outbox("notifier"), announcer, directory, directory.fetch, languages())
        async with world.engine.connect() as conn:
            row = await accounts.find(conn, TENANT, "main")
        assert row is not None
        for text, minutes, stands in (("STOP", 0, 1), ("START", -1, 1), ("START", 1, 0)):
            said = Inbound(f"{text} {minutes}", "sms", REAL, text, at=world.clock.now() + timedelta(minutes=minutes))
            await listener.keep(row, [said], sealed=b"")
            assert len(await standing(world)) == stands


async def test_a_consent_given_later_than_the_opt_out_permits_again_until_the_next_one_and_an_earlier_one_does_not(
    databases: Databases,
) -> None:
    async with a_reached_world(databases) as (world, fake, url):
        await world.consent("b1", "sms")
        world.clock.advance(timedelta(seconds=1))
        await reply(world, url, "STOP")
        assert (await again(world, "b1", "t-2"))["reason"] == "opt_out"
        world.clock.advance(timedelta(seconds=1))
        await world.consent("b1", "sms")
        await world.fresh_watermarks()
        assert (await again(world, "b1", "t-3"))["state"] == "sent"
        world.clock.advance(timedelta(seconds=1))
        await reply(world, url, "STOP", ref="SM2")
        assert (await again(world, "b1", "t-4"))["reason"] == "opt_out"
        assert [text.lower().count("no more text messages") for text in texts(fake)] == [0, 1, 0, 1], "confirmed each time"


async def test_what_is_forged_suppresses_nothing_and_what_comes_twice_is_heard_once(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, _, url):
        forged = await reply(world, url, "STOP", headers={"x-twilio-signature": "x"})
        assert (forged.status_code, await standing(world)) == (403, [])
        assert (await reply(world, url.replace("/main/", "/second/"), "STOP")).status_code == 404
        for _ in range(2):
            assert (await reply(world, url, "I will pay")).status_code == 200
        await world.service.pump()
        assert world.outcomes("b1") == ["sent", "replied"]
        assert await world.scalar("select count(*) from notifier.callbacks") == 1


async def test_a_stop_of_a_number_nobody_was_contacted_at_holds_for_whoever_has_it(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, _, url):
        await reply(world, url, "STOP", sender="+12025550177")
        await ask(world, "b3", "+12025550177")
        await world.service.pump()
        assert ((await world.delivery("b3"))["state"], (await world.delivery("b3"))["reason"]) == ("suppressed", "opt_out")


async def test_where_the_provider_has_confirmed_an_opt_out_itself_no_other_confirmation_goes_out(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, fake, url):
        await reply(world, url, "Nein danke", fields={"OptOutType": "STOP"})
        await world.service.pump()
        assert (await standing(world), len(fake.kept)) == ([("opt_out", "address", "sms")], 1)


async def test_a_person_lifts_a_mistake_with_a_reason_that_stays_on_record(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, _, url):
        await reply(world, url, "Stop, I paid")
        (one,) = (await world.get("/v1/borrowers/b1/suppressions"))["items"]
        path = f"/v1/borrowers/b1/suppressions/{one['id']}"
        assert (await world.call("DELETE", path)).status_code == 422
        assert (await world.call("DELETE", path.replace(one["id"], "other"), params={"reason": "read it"})).status_code == 404
        lifted = await world.call("DELETE", path, params={"reason": "only said that it is paid"})
        assert lifted.status_code == 200
        assert (lifted.json()["lifted_by"], lifted.json()["lifted_why"]) == ("anna", "only said that it is paid")
        assert (await world.call("DELETE", path, params={"reason": "again"})).status_code == 404
        assert (await again(world, "b1", "t-2"))["state"] == "sent"
        assert [one["lifted_why"] for one in (await world.get("/v1/borrowers/b1/suppressions"))["items"]] == ["only said that it is paid"]


async def test_the_text_of_a_reply_is_sealed_shown_to_few_and_gone_with_the_borrower(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, _, url):
        await reply(world, url, "I lost my job")
        for table in ("replies", "callbacks"):
            assert "job" not in str(await world.scalar(f"select encode(sealed, 'escape') from notifier.{table}"))
        async with world.engine.begin() as conn:
            await add_key(conn, "notifier", "dw_clerk", Principal("default", "al", frozenset({"contacts:read"})))
            await add_key(conn, "notifier", "dw_reader", Principal("default", "bea", frozenset({"contacts:read", "pii:read"})))
        few, all_of_it = [
            (await world.call("GET", "/v1/borrowers/b1/replies", headers={"Authorization": f"Bearer {key}"})).json()["items"][0]
            for key in ("dw_clerk", "dw_reader")
        ]
        assert (few["text"], few["wishes"], few["signed"]) == (None, [], True)
        assert (all_of_it["text"], all_of_it["from"]) == ("I lost my job", REAL)
        reads = (await world.get("/v1/pii-reads", borrower_id="b1"))["items"]
        assert [(read["by"], read["what"]) for read in reads] == [("bea", "replies")]
        await world.erase("b1")
        assert await world.scalar("select sealed is null and lookup = '' from notifier.replies")
        assert await world.scalar("select sealed is null from notifier.callbacks")


@asynccontextmanager
async def a_mailed_world(databases: Databases) -> AsyncIterator[tuple[World, FakeProviders, dict[str, Any]]]:
    """A world in which a mail went out to `b1` through an account without a signing key, and that account as shown."""
    accounts = {"mail": Account("mail", "sendgrid", {"api_key": "k"}, {"from": "us@example.org"})}
    packs = Packs({**load_packs().by_id, "TT": parse_pack(OPEN, "TT.yaml")})
    async with (
        FakeProviders(accounts).served() as fake,
        a_world(databases, options=Options(packs=packs), fakes=True, public_url=PUBLIC) as world,
    ):
        made = {
            "kind": "sendgrid",
            "credentials": {"api_key": "k"},
            "settings": {"from": "us@example.org"},
            "base_url": f"{fake.origin}/mail",
        }
        await world.lift_the_days_limit()
        shown = await put(world, "mail", made)
        await route(world, {"channel": "email", "provider": "mail"})
        await world.profile("b1", addresses={"email": "li@example.org"}, jurisdictions=("TT",))
        await world.fact("b1", jurisdictions=("TT",))
        await mail_again(world, "t-b1")
        yield world, fake, shown


async def mail_again(world: World, task: str) -> dict[str, Any]:
    await world.request("b1", task, channels=("email",), jurisdictions=("TT",))
    await world.service.pump()
    return await world.delivery("b1", task)


async def test_a_spam_complaint_after_the_delivery_ends_the_mail_and_stands_in_the_case(databases: Databases) -> None:
    """Unsigned: it may suppress."""
    async with a_mailed_world(databases) as (world, fake, shown):
        ((_, taken),) = fake.kept
        path = shown["receipts_url"].removeprefix(PUBLIC)
        for number, event in enumerate(("delivered", "spamreport", "spamreport")):
            said = {
                "event": event,
                "email": taken.to,
                "sg_event_id": f"e{min(number, 1)}",
                "dunwell_message": taken.reference,
                "timestamp": 1,
            }
            answer = await world.call("POST", path, json=[said])
            assert answer.json() == {"new": 1 if number < 2 else 0}, number
        await world.service.pump()
        assert world.outcomes("b1") == ["sent", "delivered", "opted_out", "complained"]
        ended = await mail_again(world, "t-2")
        assert (ended["state"], ended["reason"], len(fake.kept)) == ("suppressed", "opt_out", 1)


async def test_a_mail_that_is_answered_with_stop_is_the_last_one_and_an_unsigned_start_lifts_nothing(databases: Databases) -> None:
    async with a_mailed_world(databases) as (world, fake, shown):
        path = shown["inbound_url"].removeprefix(PUBLIC)
        for number, text in enumerate(("STOP\n\n> Please pay", "START")):
            said = {"from": "Li <LI@example.org>", "headers": f"Message-ID: <{number}@x>\n", "text": text}
            answer = await world.call("POST", path, files={name: (None, value) for name, value in said.items()})
            assert answer.status_code == 200
        await world.service.pump()
        assert [str(taken.subject).startswith("You will get no more e-mails") for _, taken in fake.kept[1:]] == [True]
        assert await standing(world) == [("opt_out", "address", "email")]
        assert (await mail_again(world, "t-2"))["reason"] == "opt_out"


async def test_one_click_in_a_mail_ends_mails_and_opening_the_link_does_not(databases: Databases) -> None:
    async with a_mailed_world(databases) as (world, _, _):
        link = Directory(world.engine, world.clock, Ring((PRIVATE,)), DIGEST_KEY, {}, PUBLIC).unsubscribe_url("default", "b1", "t-b1")
        assert link is not None
        path = link.removeprefix(PUBLIC)
        nobody = {"Authorization": ""}
        assert (await world.call("GET", path, headers=nobody)).status_code == 200
        assert await standing(world) == []
        assert (await world.call("POST", path[:-2] + "xx", headers=nobody)).status_code == 404
        for _ in range(2):
            assert (await world.call("POST", path, headers=nobody, data={"List-Unsubscribe": "One-Click"})).status_code == 200
        await world.service.pump()
        assert await standing(world) == [("opt_out", "address", "email")]
        assert world.outcomes("b1") == ["sent", "opted_out"]


async def test_a_number_that_the_profile_writes_with_spaces_is_the_same_number(databases: Databases) -> None:
    async with a_reached_world(databases) as (world, fake, url):
        await ask(world, "b4", "+1 (202) 555-0166")
        await world.service.pump()
        assert fake.kept[-1][1].to == "+12025550166"
        await reply(world, url, "STOP", sender="+12025550166")
        assert await standing(world, "b4") == [("opt_out", "address", "sms")]
        assert (await again(world, "b4", "t-2"))["reason"] == "opt_out"
        assert "opted_out" in world.outcomes("b4")
        await reply(world, url, "START", sender="+12025550166", ref="SM2")
        assert (await again(world, "b4", "t-3"))["state"] == "sent"


async def test_replies_at_once_about_a_shared_number_wait_for_each_other_and_for_claims(databases: Databases) -> None:
    others = tuple(f"o{number}" for number in range(5))
    async with a_reached_world(databases, *others) as (world, _, url):
        for borrower in others:
            await world.request(borrower, f"t2-{borrower}", channels=("sms",), jurisdictions=("TT",))
        said = ("STOP", "stop all", "This is harassment", "STOP")
        answers, _ = await asyncio.gather(
            asyncio.gather(*(reply(world, url, text, ref=f"SM{number}") for number, text in enumerate(said))), world.service.pump()
        )
        assert [answer.status_code for answer in answers] == [200] * len(said)
        await world.service.pump()
        everybody = len(others) + 1
        statement = "select count(*) from notifier.suppressions where ground = 'opt_out'"
        assert await world.scalar(statement) == 1 + everybody
        for borrower in others:
            numbers = [one.data.sequence for one in world.told if one.data.task_id == f"t-{borrower}"]
            assert numbers == list(range(1, len(numbers) + 1))
            assert (await again(world, borrower, f"t3-{borrower}"))["state"] == "suppressed"


@pytest.mark.parametrize(
    ("places", "closed"), [(("US-FED-TCPA",), {"sms", "ai_voice", "voicemail"}), (("US-NYC",), {"sms"}), ((), {"sms"})]
)
async def test_stop_by_sms_ends_automatic_calls_to_the_number_where_one_consent_is_for_both(
    databases: Databases, places: tuple[str, ...], closed: set[str]
) -> None:
    """As 47 CFR 64.1200 is noted in regulations.yaml, US-FED-TCPA.

    Consent is required for "autodialed or artificial/prerecorded voice calls and texts", "AI-generated voices count as artificial", and
    "calling/texting after revocation" is forbidden. Elsewhere, as in 6 RCNY 5-77, "the request is per medium".
    """
    async with a_reached_world(databases) as (world, _, url):
        await reply(world, url, "STOP")
        await world.profile("b1", addresses={"sms": REAL}, jurisdictions=("TT", *places))
        for channel in ("ai_voice", "voicemail", "call", "sms"):
            if channel == "sms":
                stopped = (await again(world, "b1", "t-again"))["reason"] == "opt_out"
            else:
                asked = {"borrower_id": "b1", "debt": "loan-b1", "channel": channel, "by": "dialler", "to": REAL}
                said = (await world.call("POST", "/v1/contacts:authorize", json=asked)).json()
                stopped = "stop-opt_out" in {rule["rule"] for rule in said["rules"]}
            assert stopped == (channel in closed), channel
