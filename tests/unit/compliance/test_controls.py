"""The counterpart of the worked cases: a case that differs in one fact is decided the other way."""

from datetime import datetime
from typing import Any

import pytest

from libs.common.value import replace
from libs.compliance import Allow, Channel, DebtFacts, Deny, Profile, Role, TenantHours, decide, load_packs
from tests.unit.compliance.build import Known, contact, known, proposed

PACKS = load_packs()
NEW_YORK = ("America/New_York",)


def answer(asked: tuple[Any, ...], jurisdictions: str, zones: tuple[str, ...] | None, **more: Any) -> datetime | str | None:
    given: Known = {"jurisdictions": tuple(jurisdictions.split()), "zones": zones, **more}  # type: ignore[typeddict-item]  # spread of a table
    match decide(proposed(*asked), known(**given), PACKS):
        case Allow():
            return "allow"
        case Deny(earliest):
            return earliest


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("asked", "where", "zones", "expected"),
    [
        (("2027-01-12T20:59:59-05:00", "call"), "US-FED-REGF", NEW_YORK, "allow"),
        (("2027-01-12T21:00:00-05:00", "call"), "US-FED-REGF", NEW_YORK, "2027-01-13T08:00:00-05:00"),
        (("2027-01-12T23:00:00-05:00", "sms", "answer"), "US-FED-REGF", NEW_YORK, "allow"),
        (
            ("2027-01-12T18:30:00-08:00", "email"),
            "US-FED-REGF",
            ("America/New_York", "America/Los_Angeles"),
            "2027-01-13T08:00:00-08:00",
        ),
        (("2027-03-14T14:00:00+00:00", "push"), "US-FED-REGF", ("America/Phoenix",), "2027-03-14T15:00:00+00:00"),
        (("2027-03-01T12:00:00+00:00", "push"), "US-FED-REGF", None, "2027-03-01T18:00:00+00:00"),
        (("2027-04-13T18:30:00+07:00", "push"), "TH", ("Asia/Bangkok",), "2027-04-14T08:00:00+07:00"),
        (("2027-04-13T17:00:00+07:00", "push"), "TH", ("Asia/Bangkok",), "allow"),
        (("2027-05-01T10:00:00-03:00", "call"), "BR-RJ", ("America/Sao_Paulo",), "2027-05-03T09:00:00-03:00"),
        (("2027-05-01T10:00:00-03:00", "call"), "BR", ("America/Sao_Paulo",), "2027-05-03T09:00:00-03:00"),
        (("2027-05-03T19:00:00-03:00", "call"), "BR", ("America/Sao_Paulo",), "2027-05-04T09:00:00-03:00"),
        (("2027-01-09T15:00:00-05:00", "call"), "CO", ("America/Bogota",), "2027-01-12T07:00:00-05:00"),
        (("2027-01-16T21:30:00+08:00", "sms"), "CN", ("Asia/Shanghai",), "allow"),
        (("2027-01-16T22:00:00+08:00", "sms"), "CN", ("Asia/Shanghai",), "2027-01-17T08:00:00+08:00"),
        (("2027-01-15T12:00:00+02:00", "sms"), "EG", ("Africa/Cairo",), "2027-01-16T09:00:00+02:00"),
        (("2027-01-17T12:00:00+02:00", "sms"), "ZA", ("Africa/Johannesburg",), "2027-01-18T06:00:00+02:00"),
        (("2027-12-24T20:00:00+00:00", "sms"), "GB", ("Europe/London",), "2027-12-29T08:00:00+00:00"),
        (("2027-01-17T12:00:00-05:00", "call"), "CA-ON", ("America/Toronto",), "2027-01-17T13:00:00-05:00"),
        (("2027-01-25T08:00:00+11:00", "visit"), "AU", ("Australia/Sydney",), "2027-01-25T09:00:00+11:00"),
        (("2027-01-12T10:00:00-05:00", "visit"), "CO", ("America/Bogota",), None),
        (("2027-01-12T10:00:00+03:00", "chat"), "SA", ("Asia/Riyadh",), None),
        (("2027-01-12T21:30:00-05:00", "call"), "US-FED-REGF US-WA", NEW_YORK, "2027-01-13T08:00:00-05:00"),
    ],
)
def test_the_hours_of_a_place(asked: tuple[str, ...], where: str, zones: tuple[str, ...] | None, expected: str | None) -> None:
    got = answer(asked, where, zones)
    assert got == (expected if expected in {"allow", None} else at(expected or ""))


def test_six_counted_calls_and_a_busy_one_leave_the_seventh() -> None:
    prior = [contact(f"2027-02-0{day}T10:00:00-05:00", "call", "no_answer") for day in range(2, 8)]
    prior.append(contact("2027-02-03T15:00:00-05:00", "call", "busy"))
    assert answer(("2027-02-07T18:00:00-05:00", "call"), "US-FED-REGF", NEW_YORK, prior=tuple(prior)) == "allow"


def test_texts_and_calls_of_massachusetts_do_not_count_for_the_federal_rule() -> None:
    prior = (contact("2027-02-01T08:00:00-05:00"), contact("2027-02-03T08:00:00-05:00", "call", "no_answer"))
    asked = ("2027-02-05T12:00:00-05:00", "sms")
    assert answer(asked, "US-FED-REGF", NEW_YORK, prior=prior) == "allow"
    unheard = (prior[0], contact("2027-02-03T08:00:00-05:00", "call", "no_message"))
    assert answer(asked, "US-MA", NEW_YORK, prior=unheard) == "allow"


def test_the_counter_of_new_york_city_is_one_account_from_september_2026_on() -> None:
    prior = tuple(contact(f"2027-02-0{day}T08:00:00-05:00") for day in (2, 3, 4))
    assert answer(("2027-02-06T12:00:00-05:00", "sms", "dunning", ("B",)), "US-NYC", NEW_YORK, prior=prior) == "allow"
    earlier = tuple(contact(f"2026-08-{day}T08:00:00-04:00") for day in (26, 27, 28))
    before = ("2026-08-29T12:00:00-04:00", "sms", "dunning", ("B",))
    assert answer(before, "US-NYC", NEW_YORK, prior=earlier[:1]) == "allow"
    assert answer(before, "US-NYC", NEW_YORK, prior=earlier[:2]) == at("2026-09-01T08:00:00-04:00")
    assert answer(("2026-09-01T12:00:00-04:00", "sms"), "US-NYC", NEW_YORK, prior=earlier) == at("2026-09-02T08:00:00-04:00")


def test_the_emergency_act_of_the_district_of_columbia_left_three_calls_the_permanent_one_leaves_four() -> None:
    for asked, days, expected in (
        ("2022-12-20T12:00:00-05:00", "2022-12-", at("2022-12-22T08:00:00-05:00")),
        ("2027-12-20T12:00:00-05:00", "2027-12-", "allow"),
    ):
        prior = tuple(contact(f"{days}{day}T10:00:00-05:00", "call", "no_answer") for day in (15, 16, 17))
        assert answer((asked, "call"), "US-DC", NEW_YORK, prior=prior) == expected


def test_china_counts_dials_by_number_and_connected_calls_by_debtor() -> None:
    shanghai = ("Asia/Shanghai",)
    dials = tuple(replace(contact(f"2027-03-10T{hour:02}:30:00+08:00", "call", "no_answer"), to="number1") for hour in range(8, 14))
    talks = tuple(replace(contact(f"2027-03-10T{hour:02}:00:00+08:00", "call", "connected"), to="number2") for hour in (9, 13, 14))
    first, second = (replace(proposed("2027-03-10T15:00:00+08:00", "call"), to=number) for number in ("number1", "number2"))
    for asked, prior, allowed in ((first, dials, False), (second, dials + talks[:2], True), (second, talks, False), (first, talks, False)):
        answered = decide(asked, known(jurisdictions=("CN",), zones=shanghai, prior=prior), PACKS)
        assert isinstance(answered, Allow) is allowed
        assert allowed or (isinstance(answered, Deny) and answered.earliest == at("2027-03-11T08:00:00+08:00"))


def test_australia_counts_neither_a_call_that_nobody_heard_nor_an_answer_in_a_thread_of_the_debtor() -> None:
    made = (contact("2027-01-20T07:30:00+11:00", "voicemail"), contact("2027-01-20T07:30:00+11:00", "email"))
    sydney, asked = ("Australia/Sydney",), "2027-01-25T10:00:00+11:00"
    unheard, turn = contact("2027-01-21T07:30:00+11:00", "call", "no_answer"), contact("2027-01-21T07:30:00+11:00", kind="answer")
    full = (*made, contact("2027-01-21T07:30:00+11:00"))
    assert answer((asked, "sms"), "AU", sydney, prior=full) == at("2027-01-27T07:30:00+11:00")
    assert answer((asked, "sms"), "AU", sydney, prior=(*made, unheard)) == "allow"
    assert answer((asked, "sms"), "AU", sydney, prior=(*made, turn)) == "allow"
    assert answer((asked, "sms", "answer"), "AU", sydney, prior=full) == "allow"


def test_a_call_of_which_nothing_is_known_may_have_been_a_conversation() -> None:
    asked = ("2027-02-04T12:00:00-05:00", "call")
    for channel, result, expected in (
        ("call", "", at("2027-02-08T08:00:00-05:00")),
        ("call", "unknown", at("2027-02-08T08:00:00-05:00")),
        ("call", "no_answer", "allow"),
        ("voicemail", "", "allow"),
        ("sms", "", "allow"),
    ):
        prior = (contact("2027-02-01T20:00:00-05:00", channel, result),)
        assert answer(asked, "US-FED-REGF", NEW_YORK, prior=prior) == expected
    talk = (contact("2027-02-01T20:00:00-05:00", "call", "conversation"),)
    assert answer(("2027-02-04T12:00:00-05:00", "sms"), "US-FED-REGF", NEW_YORK, prior=talk) == "allow"
    assert answer(("2027-02-04T12:00:00-05:00", "call", "dunning", ("B",)), "US-FED-REGF", NEW_YORK, prior=talk) == "allow"
    assert answer(asked, "US-FED-REGF", NEW_YORK, prior=(replace(talk[0], direction="inbound"),)) == at("2027-02-08T08:00:00-05:00")


def test_ontario_rests_six_whole_days_after_the_written_notice() -> None:
    told = (contact("2027-03-01T10:00:00-05:00", "letter", kind="statutory_notice"),)
    toronto, asked = ("America/Toronto",), ("2027-03-04T10:00:00-05:00", "call")
    assert answer(asked, "CA-ON", toronto, prior=told) == at("2027-03-08T07:00:00-05:00")
    assert answer(("2027-03-08T07:00:00-05:00", "call"), "CA-ON", toronto, prior=told) == "allow"
    assert answer((*asked, "answer"), "CA-ON", toronto, prior=told) == "allow"
    assert answer((*asked, "dunning", ("B",)), "CA-ON", toronto, prior=told) == "allow"
    assert answer(asked, "CA-ON", toronto, prior=(replace(told[0], kind=None),)) == "allow"
    assert answer(asked, "CA-ON", toronto, prior=(replace(told[0], kind="notice"),)) == at("2027-03-08T07:00:00-05:00")


def test_a_visit_in_pakistan_needs_a_notice_of_fourteen_days() -> None:
    karachi, asked = ("Asia/Karachi",), ("2027-02-08T10:00:00+05:00", "visit")
    told = contact("2027-02-01T10:00:00+05:00", "sms", kind="notice")
    assert answer(asked, "PK", karachi) is None
    assert answer((asked[0], "call"), "PK", karachi) == "allow"
    assert answer(asked, "PK", karachi, prior=(told,)) == at("2027-02-16T08:00:00+05:00")
    assert answer(asked, "PK", karachi, prior=(replace(told, result="bounced"),)) is None
    assert answer(asked, "PK", karachi, prior=(told, replace(told, at=at("2027-01-05T10:00:00+05:00")))) == "allow"
    assert answer((*asked, "dunning", ("A", "B")), "PK", karachi, prior=(told,)) is None


def test_vietnam_uses_only_forms_that_the_contract_names() -> None:
    place, agreed = ("Asia/Ho_Chi_Minh",), {"consents": frozenset({Channel.SMS})}
    assert answer(("2027-03-10T16:00:00+07:00", "sms"), "VN", place, **agreed) == "allow"
    assert answer(("2027-03-10T16:00:00+07:00", "email"), "VN", place, **agreed) is None
    assert answer(("2027-03-10T16:00:00+07:00", "email"), "VN", place) == "allow"


def test_a_call_that_nobody_answered_lets_no_demand_reach_the_debtor_in_korea() -> None:
    prior = tuple(contact(f"2027-02-{day}T10:00:00+09:00") for day in range(14, 20))
    asked = ("2027-02-20T11:00:00+09:00", "sms")
    unanswered, unknown = (contact("2027-02-20T10:00:00+09:00", "call", result) for result in ("no_answer", ""))
    assert answer(asked, "KR", ("Asia/Seoul",), prior=(*prior, unanswered)) == "allow"
    assert answer(asked, "KR", ("Asia/Seoul",), prior=(*prior, unknown)) == at("2027-02-21T08:00:00+09:00")


@pytest.mark.parametrize(
    ("where", "addressee", "passes"),
    [("US-FED-REGF", "spouse", True), ("US-FED-REGF", "executor", True), ("US-FED-REGF", "employer", False), ("US-DC", "spouse", False)],
)
def test_the_spouse_is_the_consumer_of_federal_law_and_family_in_the_district_of_columbia(where: str, addressee: str, passes: bool) -> None:
    asked = replace(proposed("2027-01-12T12:00:00-05:00"), addressee=addressee)
    assert isinstance(decide(asked, known(jurisdictions=(where,), zones=NEW_YORK), PACKS), Allow) is passes


def test_colombia_keeps_to_the_channel_of_the_week_but_sends_what_was_asked_for() -> None:
    more = {"prior": (contact("2027-02-02T07:00:00-05:00", "sms", "replied"),), "consents": frozenset({Channel.SMS, Channel.EMAIL})}
    assert answer(("2027-02-04T10:00:00-05:00", "sms"), "CO", ("America/Bogota",), **more) == "allow"
    assert answer(("2027-02-04T10:00:00-05:00", "email", "answer"), "CO", ("America/Bogota",), **more) == "allow"
    assert answer(("2027-02-04T10:00:00-05:00", "push"), "CO", ("America/Bogota",), **more) is None


def test_a_statutory_notice_of_korea_passes_a_full_counter_and_obeys_the_hours() -> None:
    prior = tuple(contact(f"2027-02-{day}T10:00:00+09:00") for day in range(14, 21))
    seoul = ("Asia/Seoul",)
    assert answer(("2027-02-20T11:00:00+09:00", "sms"), "KR", seoul, prior=prior) == at("2027-02-21T08:00:00+09:00")
    assert answer(("2027-02-20T11:00:00+09:00", "letter", "notice"), "KR", seoul, prior=prior) == "allow"
    assert answer(("2027-02-20T21:00:00+09:00", "sms", "notice"), "KR", seoul, prior=prior) == at("2027-02-21T08:00:00+09:00")
    noticed = (*prior[:6], contact("2027-02-20T09:00:00+09:00", "letter", kind="statutory_notice"))
    assert answer(("2027-02-20T11:00:00+09:00", "sms"), "KR", seoul, prior=noticed) == "allow"


def test_hours_of_the_contract_only_narrow_those_of_vietnam() -> None:
    hours = TenantHours.parse({"every": "09:00-18:00"})
    prior = tuple(contact(f"2027-03-10T{hour:02}:00:00+07:00") for hour in (8, 9, 11, 13, 15))
    place = ("Asia/Ho_Chi_Minh",)
    asked = ("2027-03-10T16:00:00+07:00", "push")
    assert answer(asked, "VN", place, prior=prior, tenant_hours=hours) == at("2027-03-11T09:00:00+07:00")


def test_a_call_in_chile_has_a_counter_of_its_own() -> None:
    prior = (contact("2027-03-01T10:00:00-03:00"),)
    assert answer(("2027-03-02T10:00:00-03:00", "call"), "CL", ("America/Santiago",), prior=prior) == "allow"


def test_the_night_of_the_philippines_opens_after_fifteen_days_on_the_legal_floor() -> None:
    floor = {"profile": Profile.LEGAL_FLOOR}
    late, early = {"A": DebtFacts(past_due_days=20)}, {"A": DebtFacts(past_due_days=12)}
    asked = ("2027-03-10T22:30:00+08:00", "sms")
    manila = ("Asia/Manila",)
    assert answer(asked, "PH", manila, **floor, debt_facts=late) == "allow"
    assert answer(asked, "PH", manila, **floor, debt_facts=early) == at("2027-03-11T06:00:00+08:00")
    assert answer(asked, "PH", manila, **floor) == at("2027-03-11T06:00:00+08:00")
    assert answer(asked, "PH", manila, **floor, debt_facts={"A": DebtFacts(past_due_days=15)}) == at("2027-03-11T00:00:00+08:00")


def test_rules_of_agencies_do_not_reach_a_first_party_on_the_legal_floor() -> None:
    asked = ("2027-01-12T22:00:00-05:00", "sms")
    floor = {"profile": Profile.LEGAL_FLOOR}
    assert answer(asked, "US-FED-REGF", NEW_YORK, **floor) == "allow"
    assert answer(asked, "US-FED-REGF", NEW_YORK, **floor, role=Role.AGENCY) == at("2027-01-13T08:00:00-05:00")
    assert answer(asked, "CA-OTHER", NEW_YORK, **floor) == "allow"


def test_microfinance_in_india_has_narrower_hours() -> None:
    asked = ("2027-01-12T08:30:00+05:30", "sms")
    place = ("Asia/Kolkata",)
    assert answer(asked, "IN", place) == "allow"
    assert answer(asked, "IN", place, debt_facts={"A": DebtFacts(product="microfinance")}) == at("2027-01-12T09:00:00+05:30")


def test_one_request_for_consent_a_week_passes_in_the_district_of_columbia() -> None:
    nobody = {"consents": frozenset[Channel]()}
    asked = ("2027-01-12T12:00:00-05:00", "sms", "consent_request")
    assert answer(("2027-01-12T12:00:00-05:00", "sms"), "US-DC", NEW_YORK, **nobody) is None
    assert answer(asked, "US-DC", NEW_YORK, **nobody) == "allow"
    asked_before = (contact("2027-01-11T12:00:00-05:00", kind="consent_request"),)
    assert answer(asked, "US-DC", NEW_YORK, **nobody, prior=asked_before) == at("2027-01-18T08:00:00-05:00")
