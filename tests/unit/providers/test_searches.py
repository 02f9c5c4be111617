"""Questions about messages whose answers were lost: as the providers document them, and against their fakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from libs.common.clock import DrivenClock
from services.notifier.domain.asking import Question, Search
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.results import Accepted
from services.notifier.providers import twilio
from services.notifier.providers.carrier import Carrier
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.http import HttpProvider
from services.notifier.providers.kinds import ADAPTERS
from services.notifier.providers.wire import Account, HttpCall
from tests.support import specs
from tests.unit.providers.values import NOW, TEMPLATES, a_message, an_answer

TO, MAIL = "+8613811111111", "Li.Wei@example.com"
SID = "AC" + "0" * 32
QUESTION = Question("m-0123456789abcdefghjk", TO, NOW, NOW + timedelta(seconds=30))
ACCOUNTS: Mapping[str, Account] = {
    "twilio": Account("twilio", "twilio", {"account_sid": SID, "auth_token": "tok"}, {"from": "+12025550100"}),
    "messagebird": Account("messagebird", "messagebird", {"access_key": "live_1"}, {"from": "Lender"}),
    "aliyun_sms": Account(
        "aliyun_sms", "aliyun_sms", {"access_key_id": "k", "access_key_secret": "s"},
        {"sign_name": "Lender", "templates": TEMPLATES["aliyun_sms"]},
    ),
    "vonage": Account("vonage", "vonage", {"api_key": "abcd1234", "api_secret": "s"}, {"from": "Lender"}),
    "sendgrid": Account("sendgrid", "sendgrid", {"api_key": "SG.1"}, {"from": "lender@example.com"}),
    "tencent_sms": Account(
        "tencent_sms", "tencent_sms", {"secret_id": "k", "secret_key": "s"},
        {"sdk_app_id": "1400006666", "region": "ap-guangzhou", "templates": TEMPLATES["tencent_sms"]},
    ),
}  # fmt: skip


def about(kind: str) -> Question:
    return replace(QUESTION, to=MAIL) if kind == "sendgrid" else QUESTION


def questioned(kind: str, question: Question = QUESTION, now: datetime = NOW) -> HttpCall:
    look_up = ADAPTERS[kind].look_up
    assert look_up is not None
    return look_up.request(question, ACCOUNTS[kind], now)


def read(kind: str, status: int, body: Any) -> Search | None:
    look_up = ADAPTERS[kind].look_up
    assert look_up is not None
    return look_up.read(an_answer(status, body), about(kind), ACCOUNTS[kind])


def test_twilio_is_asked_for_the_messages_to_a_number_by_its_description() -> None:
    asked = specs.check_query(questioned("twilio"), "twilio", "/2010-04-01/Accounts/{AccountSid}/Messages.json")
    assert asked == {"To": TO, "PageSize": "100"}


def test_messagebird_is_asked_for_what_went_to_a_number_in_that_time_by_its_description() -> None:
    asked = specs.check_query(questioned("messagebird"), "messagebird", "/messages")
    assert asked == {
        "recipient": "8613811111111", "direction": "mt", "limit": "100", "from": "2026-11-24T01:58:00+00:00",
        "until": "2026-11-24T02:02:30+00:00",
    }  # fmt: skip


def test_vonage_is_asked_for_the_records_of_a_number_in_that_time_by_its_description() -> None:
    call = questioned("vonage")
    assert call.url.startswith("https://api.nexmo.com/")
    assert specs.check_query(call, "vonage_reports", "/v2/reports/records") == {
        "account_id": "abcd1234", "product": "SMS", "direction": "outbound", "to": "8613811111111",
        "date_start": "2026-11-24T01:58:00+00:00", "date_end": "2026-11-24T02:02:31+00:00",
    }  # fmt: skip


def test_sendgrid_is_asked_for_the_mail_with_our_id_by_its_description() -> None:
    asked = specs.check_query(questioned("sendgrid"), "sendgrid_activity", "/v3/messages")
    assert asked == {"query": f"unique_args['dunwell_message']=\"{QUESTION.message_id}\"", "limit": "2"}


def test_aliyun_is_asked_for_a_day_of_beijings_by_its_models_and_each_question_is_new_to_it() -> None:
    call = questioned("aliyun_sms")
    said = dict(parse_qsl(urlsplit(call.url).query, strict_parsing=True))
    assert said == {"PhoneNumber": "13811111111", "SendDate": "20261124", "PageSize": "50", "CurrentPage": "1"}
    typed = {**said, "PageSize": 50, "CurrentPage": 1}
    document = specs.spec("aliyun")
    specs.validate(typed, {"$ref": "#/$defs/QuerySendDetails"}, document)
    again = questioned("aliyun_sms", replace(QUESTION, number=2))
    assert (call.headers["x-acs-action"], call.headers["x-acs-version"]) == ("QuerySendDetails", "2017-05-25")
    assert call.headers["x-acs-signature-nonce"] != again.headers["x-acs-signature-nonce"]


def test_aliyun_is_asked_for_either_day_where_midnight_has_come_between_and_for_a_number_abroad_with_its_code() -> None:
    midnight = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)
    question = replace(QUESTION, to="+85251234567", began_at=midnight - timedelta(seconds=5), ended_at=midnight + timedelta(seconds=5))
    asked = [dict(parse_qsl(urlsplit(questioned("aliyun_sms", replace(question, number=n)).url).query)) for n in (1, 2)]
    assert {one["SendDate"] for one in asked} == {"20261124", "20261125"}
    assert {one["PhoneNumber"] for one in asked} == {"85251234567"}


def test_tencent_is_asked_for_the_reports_of_a_number_by_its_description() -> None:
    call = questioned("tencent_sms", now=NOW + timedelta(hours=1))
    said = msgspec.json.decode(call.body)
    document = specs.spec("tencent")
    specs.validate(said, {"$ref": "#/$defs/PullSmsSendStatusByPhoneNumberRequest"}, document)
    assert call.headers["x-tc-action"] == "PullSmsSendStatusByPhoneNumber"
    assert (said["EndTime"] - said["BeginTime"], said["PhoneNumber"]) == (3720, TO)


@pytest.mark.parametrize("kind", sorted(ACCOUNTS))
@pytest.mark.parametrize(
    "body", [b"", b"<html>", {}, {"messages": 1, "items": {}, "records": "1"}, {"Code": "isv.X"}, {"Response": {"Error": {}}}]
)
def test_an_answer_that_is_no_list_says_nothing(kind: str, body: Any) -> None:
    assert read(kind, 200, body) is None


@pytest.mark.parametrize("kind", sorted(ACCOUNTS))
@pytest.mark.parametrize("standing", Standing)
async def test_what_a_fake_took_it_says_when_it_is_asked_and_of_what_it_never_took_it_has_nothing(kind: str, standing: Standing) -> None:
    async with FakeProviders(ACCOUNTS, clock=DrivenClock(NOW)).served() as fake:
        provider = HttpProvider(fake.account(kind), ADAPTERS[kind], Carrier(), DrivenClock(NOW))
        try:
            nothing = await provider.look_up(about(kind))
            [result] = await provider.deliver([a_message(to=about(kind).to, id=QUESTION.message_id, subject="Due")])
            assert isinstance(result, Accepted)
            fake.kept[:] = [(name, replace(taken, standing=standing)) for name, taken in fake.kept]
            found = await provider.look_up(about(kind))
        finally:
            await provider.close()
    assert nothing is not None
    assert nothing.found == ()
    assert found is not None
    assert [one.standing for one in found.found] == shown_as(kind, standing)
    assert {one.provider_ref for one in found.found} <= {result.provider_ref, None}
    assert nothing.whole == (kind in {"twilio", "messagebird"})
    for one in found.found:
        assert (one.code is not None, one.fault != "none") == (standing is Standing.FAILED, standing is Standing.FAILED)


@pytest.mark.parametrize(("apart", "whole"), [(timedelta(minutes=1), True), (timedelta(minutes=-3), False), (timedelta(days=6), False)])
async def test_what_a_provider_has_not_proves_nothing_where_its_clock_is_another(apart: timedelta, whole: bool) -> None:
    async with FakeProviders(ACCOUNTS, clock=DrivenClock(NOW + apart)).served() as fake:
        provider = HttpProvider(fake.account("twilio"), ADAPTERS["twilio"], Carrier(), DrivenClock(NOW))
        found = await provider.look_up(QUESTION)
        await provider.close()
    assert found == Search((), whole=whole)


def shown_as(kind: str, standing: Standing) -> list[Standing]:
    match kind:
        case "aliyun_sms" | "sendgrid":
            return [Standing.ACCEPTED if standing is Standing.SENT else standing]
        case "tencent_sms":
            return [standing] if standing in {Standing.DELIVERED, Standing.FAILED} else []
        case _:
            return [standing]


def test_a_message_of_twilios_is_ours_by_its_sender_and_the_moment_it_was_made() -> None:
    def listed(sid: str, at: str, sender: str = "+12025550100", direction: str = "outbound-api") -> dict[str, Any]:
        return {"sid": sid, "from": sender, "to": TO, "status": "delivered", "direction": direction, "date_created": at}

    during, before = "Tue, 24 Nov 2026 02:00:10 +0000", "Tue, 24 Nov 2026 01:50:00 +0000"
    others = [
        listed("early", before), listed("late", "Tue, 24 Nov 2026 02:10:00 +0000"), listed("other", during, "+12025550999"),
        listed("reply", during, direction="inbound"),
    ]  # fmt: skip
    search = read("twilio", 200, {"messages": [*others, listed("ours", during)], "next_page_uri": "/more"})
    assert search == Search((Receipt(Standing.DELIVERED, provider_ref="ours"),), whole=True)
    cut = read("twilio", 200, {"messages": others[1:], "next_page_uri": "/more"})
    assert cut == Search((), whole=False)


def test_a_messaging_service_knows_its_messages_by_its_own_name() -> None:
    account = replace(ACCOUNTS["twilio"], settings={"from": "MG1"})
    one = {
        "sid": "SM1",
        "from": "+1",
        "messaging_service_sid": "MG1",
        "status": "queued",
        "date_created": "Tue, 24 Nov 2026 02:00:01 +0000",
    }
    found = twilio.searched(an_answer(200, {"messages": [one], "next_page_uri": None}), QUESTION, account)
    assert found == Search((Receipt(Standing.ACCEPTED, provider_ref="SM1"),), whole=True)


def test_a_message_of_vonages_in_parts_has_arrived_when_all_of_them_have() -> None:
    def recorded(*statuses: str) -> dict[str, Any]:
        return {
            "records": [{"client_ref": f"{QUESTION.message_id}.2", "message_id": f"R{n}", "status": one} for n, one in enumerate(statuses)]
        }

    found = [
        read("vonage", 200, recorded(*statuses))
        for statuses in (["delivered"] * 2, ["delivered", "accepted"], ["failed", "delivered"], ["delivered"])
    ]
    assert [one.found[0].standing for one in found if one] == [Standing.DELIVERED, Standing.SENT, Standing.FAILED, Standing.SENT]
    others = {"records": [{"client_ref": None, "message_id": "R", "status": "delivered"}]}
    assert read("vonage", 200, others) == Search()


def test_a_mail_that_sendgrid_finds_is_ours_where_it_is_the_only_one_and_went_to_the_same_address() -> None:
    one = {"to_email": MAIL.lower(), "msg_id": "x.filter-1", "status": "not_delivered", "last_event_time": "2026-11-24T02:01:00Z"}
    found = read("sendgrid", 200, {"messages": [one]})
    assert found == Search(
        (Receipt(Standing.FAILED, QUESTION.message_id, "x", at=NOW + timedelta(minutes=1), code="not_delivered", fault="provider"),)
    )
    assert read("sendgrid", 200, {"messages": [one, one]}) == read("sendgrid", 200, {"messages": [{**one, "to_email": "o@example.com"}]})
    assert read("sendgrid", 200, {"messages": []}) == Search()


def test_more_messages_than_messagebird_has_shown_are_not_the_whole() -> None:
    assert read("messagebird", 200, {"items": [], "totalCount": 0}) == Search((), whole=True)
    assert read("messagebird", 200, {"items": [{"reference": "x"}], "totalCount": 2}) == Search((), whole=False)


def test_only_where_an_absence_proves_something_does_a_kind_say_after_how_long() -> None:
    after = {kind: one.look_up.absent_after for kind, one in ADAPTERS.items() if one.look_up is not None}
    half_an_hour = timedelta(minutes=30)
    assert {kind for kind, one in after.items() if one == half_an_hour} == {"twilio", "messagebird"}
    assert {kind for kind, one in after.items() if one is None} == {"aliyun_sms", "tencent_sms", "vonage", "sendgrid"}
