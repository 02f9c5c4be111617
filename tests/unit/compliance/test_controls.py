"""The other side of the worked cases: what differs in one fact is decided the other way."""

from datetime import datetime
from typing import Any

import pytest

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
    assert answer(("2026-08-29T12:00:00-04:00", "sms"), "US-NYC", NEW_YORK, prior=earlier) == "allow"
    assert answer(("2026-09-01T12:00:00-04:00", "sms"), "US-NYC", NEW_YORK, prior=earlier) == at("2026-09-02T08:00:00-04:00")


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


def test_the_federal_rule_does_not_reach_a_first_party_on_the_legal_floor() -> None:
    asked = ("2027-01-12T22:00:00-05:00", "sms")
    floor = {"profile": Profile.LEGAL_FLOOR}
    assert answer(asked, "US-FED-REGF", NEW_YORK, **floor) == "allow"
    assert answer(asked, "US-FED-REGF", NEW_YORK, **floor, role=Role.AGENCY) == at("2027-01-13T08:00:00-05:00")


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
