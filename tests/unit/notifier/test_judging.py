"""What becomes of a delivery that is due: the checks in order, and the gate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from libs.common.contracts.contact_tasks import DebtRef
from libs.common.contracts.overdue_facts import Amounts, Doubt, NextDue, OverdueFact
from libs.common.value import replace
from libs.compliance import Channel, Packs, Prior, load_packs
from libs.compliance.packs import parse_pack
from services.notifier.domain.delivery import Delivery
from services.notifier.domain.gatekeeping import Earlier, jurisdictions
from services.notifier.domain.judging import Scene, judge
from services.notifier.domain.known import Hold, Known, Status
from services.notifier.domain.suppressions import Ground, Suppression
from services.notifier.domain.verdicts import Defer, Expire, Fail, Send, Suppress, Verdict, Wait
from tests.unit.notifier.values import MORNING, NIGHT, a_delivery, a_fact, a_profile, an_address

PACKS = load_packs()
ALL = {"sms": True, "email": True, "push": True, "inbox": True}


def a_scene(known: Known, **changes: Any) -> Scene:
    values: dict[str, Any] = {
        "pipeline": None, "switched_off": frozenset(), "shadowed": frozenset(), "channels": ALL, "resting": frozenset(),
        "earlier": lambda _: Earlier(),
        "packs": PACKS,
    }  # fmt: skip
    return Scene(known=known, places=(), **{**values, **changes})


def known(*facts: OverdueFact, **changes: Any) -> Known:
    values: dict[str, Any] = {"profile": a_profile(), "facts": {fact.loan_id: fact for fact in facts or (a_fact(),)}}
    return Known(**{**values, **changes})


def verdict(scene: Scene, at: datetime = MORNING, **request: Any) -> Verdict:
    return judged(a_delivery(**request), scene, at)


def judged(delivery: Delivery, scene: Scene, at: datetime = MORNING) -> Verdict:
    return judge(delivery, replace(scene, places=jurisdictions(delivery.request, scene.known)), at)


def test_a_late_debt_in_the_morning_is_sent_on_the_first_channel_with_an_address() -> None:
    found = verdict(a_scene(known(profile=a_profile(addresses=(an_address("email"), an_address("sms"))))))
    assert isinstance(found, Send)
    assert (found.channel, found.decision.packs, found.decision.facts) == ("sms", {"ZZ": "2026.11"}, {"loan": (1, 1)})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"switched_off": frozenset({"*"})}, Defer(MORNING + timedelta(seconds=5), "switched_off", passing=True)),
        ({"pipeline": "pipeline_stale"}, Defer(MORNING + timedelta(seconds=1), "pipeline_stale", passing=True)),
        ({"pipeline": "feed_stale"}, Defer(MORNING + timedelta(seconds=1), "feed_stale", passing=True)),
        ({"switched_off": frozenset({"sms"})}, Defer(MORNING + timedelta(seconds=5), "switched_off", passing=True)),
        ({"channels": {}}, Fail("no_provider")),
        ({"channels": {"sms": False}}, Fail("sandbox_only")),
    ],
)
def test_what_stands_before_everybody_stops_it(changes: Mapping[str, Any], expected: Verdict) -> None:
    assert verdict(a_scene(known(), **changes)) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (known(profile=None), Wait("profile_unknown")),
        (known(profile=None, erased=True), Suppress("erased")),
        (known(facts={}), Wait("facts_behind")),
        (known(a_fact(version=0)), Wait("facts_behind")),
        (known(a_fact(overdue=0)), Suppress("paid")),
        (known(a_fact(status="closed")), Suppress("paid")),
        (known(a_fact(status="written_off")), Suppress("paid")),
        (known(a_fact(doubt=Doubt(since=MORNING, parked=("e",)))), Wait("in_doubt")),
        (known(a_fact(resting_until=NIGHT)), Defer(NIGHT, "payment_pending")),
        (known(profile=a_profile(addresses=())), Fail("no_address")),
        (known(profile=a_profile(addresses=(an_address(purposes=("notice",)),))), Fail("no_address")),
    ],
)
def test_what_is_known_of_the_borrower_decides(state: Known, expected: Verdict) -> None:
    assert verdict(a_scene(state)) == expected


def test_an_epoch_later_than_that_of_the_request_is_newer_whatever_its_version() -> None:
    assert isinstance(verdict(a_scene(known(a_fact(epoch=2, version=0)))), Send)


def test_a_fact_that_time_alone_has_changed_is_waited_for_though_its_version_is_known() -> None:
    yesterday, today = (a_fact(as_of=date(2026, 11, day)) for day in (23, 24))
    asked = (DebtRef(loan_id="loan", fact_epoch=1, fact_version=1, fact_as_of=today.as_of),)
    assert verdict(a_scene(known(msgspec.structs.replace(yesterday, overdue=Amounts()))), debts=asked) == Wait("facts_behind")
    assert isinstance(verdict(a_scene(known(today)), debts=asked), Send)


def test_its_end_comes_before_everything() -> None:
    assert verdict(a_scene(known(), pipeline="pipeline_stale"), expires_at=MORNING) == Expire()


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (a_fact(overdue=0, next_due=NextDue(n=2, due_on=date(2026, 11, 24), total=100)), None),
        (a_fact(overdue=0, next_due=NextDue(n=2, due_on=date(2026, 11, 23), total=100)), "paid"),
        (a_fact(overdue=0), "paid"),
        (a_fact(next_due=NextDue(n=2, due_on=date(2026, 11, 30), total=100)), "overdue"),
    ],
)
def test_a_reminder_is_for_what_is_open_and_not_yet_due(fact: OverdueFact, reason: str | None) -> None:
    found = verdict(a_scene(known(fact)), purpose="reminder")
    assert isinstance(found, Send) if reason is None else found == Suppress(reason)


def test_quiet_hours_are_those_of_the_borrower_then_of_the_loan_then_of_everywhere() -> None:
    eight = datetime(2026, 11, 25, 0, 0, tzinfo=UTC)
    night = verdict(a_scene(known()), NIGHT)
    assert isinstance(night, Defer)
    assert (night.until, night.reason) == (eight, "zz-hours")
    elsewhere = verdict(a_scene(known(profile=a_profile(timezone="America/New_York"))), NIGHT)
    assert isinstance(elsewhere, Send)
    of_the_loan = verdict(a_scene(known(profile=a_profile(timezone=None))), NIGHT)
    assert isinstance(of_the_loan, Defer)
    assert of_the_loan.until == eight
    nowhere = verdict(a_scene(known(profile=a_profile(timezone=None), facts={})), NIGHT, purpose="answer", debts=())
    assert isinstance(nowhere, Suppress)


def test_every_jurisdiction_that_anybody_names_must_agree() -> None:
    found = verdict(a_scene(known()), jurisdictions=("ATLANTIS",))
    assert isinstance(found, Suppress)
    assert found.reason == "jurisdiction-unknown"


@pytest.mark.parametrize("kind", ["deceased", "insolvent", "represented", "cease", "opt_out", "dispute", "promise", "manual"])
def test_a_stop_without_an_end_suppresses_and_is_named(kind: str) -> None:
    found = verdict(a_scene(known(statuses=(Status(kind, MORNING, None),))))
    assert isinstance(found, Suppress)
    assert found.reason == kind


def test_a_stop_with_an_end_defers_until_then() -> None:
    found = verdict(a_scene(known(holds=(Hold("moratorium", "none", MORNING, MORNING + timedelta(hours=3), None),))))
    assert isinstance(found, Defer)
    assert (found.until, found.reason) == (MORNING + timedelta(hours=3), "moratorium")


def test_a_limited_hold_lets_a_notice_pass_and_no_dunning() -> None:
    held = a_scene(known(holds=(Hold("manual", "limited", MORNING, None, None),)))
    assert isinstance(verdict(held, purpose="notice"), Send)
    assert isinstance(verdict(held), Suppress)


def test_debts_in_doubt_resting_or_held_are_left_out_of_a_message_about_several() -> None:
    loans = ("plain", "doubtful", "resting", "held", "paid")
    facts = {loan: a_fact(loan) for loan in loans}
    facts["doubtful"] = msgspec.structs.replace(facts["doubtful"], doubt=Doubt(since=MORNING, parked=()))
    facts["resting"] = msgspec.structs.replace(facts["resting"], resting_until=NIGHT)
    facts["paid"] = a_fact("paid", 0)
    scene = a_scene(known(facts=facts, holds=(Hold("dispute", "none", MORNING, None, "held"),)))
    found = verdict(scene, debts=tuple(DebtRef(loan_id=loan, fact_epoch=1, fact_version=1) for loan in loans))
    assert isinstance(found, Send)
    assert [debt.loan_id for debt in found.debts] == ["plain"]


@pytest.mark.parametrize(
    ("fact", "purpose", "sent"),
    [
        (a_fact(overdue=0, version=2), "notice", False),
        (a_fact(overdue=0), "notice", False),
        (a_fact(status="written_off"), "notice", False),
        (a_fact(overdue=0, version=2), "confirmation", True),
    ],
)
def test_a_notice_is_of_no_debt_that_was_paid_since_it_was_asked_for_or_has_ended(fact: OverdueFact, purpose: str, *, sent: bool) -> None:
    assert isinstance(verdict(a_scene(known(fact)), purpose=purpose), Send) is sent


def test_a_person_may_have_a_notice_sent_of_a_debt_that_is_not_late() -> None:
    of_any_version = (DebtRef(loan_id="loan", fact_epoch=0, fact_version=0),)
    assert isinstance(verdict(a_scene(known(a_fact(overdue=0))), purpose="notice", debts=of_any_version), Send)


@pytest.mark.parametrize(
    ("purpose", "expected"), [("notice", Wait("in_doubt")), ("survey", Wait("in_doubt")), ("answer", None), ("confirmation", None)]
)
def test_of_a_debt_in_doubt_only_answers_and_confirmations_are_sent(purpose: str, expected: Verdict | None) -> None:
    doubtful = msgspec.structs.replace(a_fact(), doubt=Doubt(since=MORNING, parked=()))
    found = verdict(a_scene(known(doubtful)), purpose=purpose)
    assert isinstance(found, Send) if expected is None else found == expected


ASKING = """
id: TT
name: A country that asks for consent
version: "1"
verified: not law; an invented country
zones: []
rules: [{id: tt-consent, kind: consent, nature: law, cite: "test", evidence: product_default, channels: [sms]}]
"""


@pytest.mark.parametrize(
    ("consents", "purpose", "sent"),
    [
        (frozenset(), "dunning", False),
        (frozenset({("email", "dunning")}), "dunning", False),
        (frozenset({("sms", "survey")}), "dunning", False),
        (frozenset({("sms", "dunning")}), "dunning", True),
        (frozenset({("sms", "dunning")}), "answer", False),
    ],
)
def test_a_pack_that_asks_for_consent_gets_the_list_of_what_was_granted(
    consents: frozenset[tuple[str, str]], purpose: str, sent: bool
) -> None:  # fmt: skip
    packs = Packs({**PACKS.by_id, "TT": parse_pack(ASKING, "TT.yaml")})
    state = known(a_fact(jurisdictions=("TT",)), profile=a_profile(jurisdictions=("TT",)), consents=consents)
    found = judged(a_delivery(channels=("sms",), purpose=purpose), a_scene(state, packs=packs))
    assert isinstance(found, Send if sent else Suppress)


def test_where_no_end_is_known_the_word_is_of_the_rule_that_has_none() -> None:
    packs = Packs({**PACKS.by_id, "ZZA": parse_pack(ASKING.replace("id: TT", "id: ZZA"), "ZZA.yaml")})
    found = judged(a_delivery(channels=("sms",)), a_scene(known(profile=a_profile(jurisdictions=("ZZ", "ZZA"))), packs=packs), NIGHT)
    assert isinstance(found, Suppress)
    assert (found.reason, [rule.rule for rule in found.decisions[0].rules]) == ("tt-consent", ["zz-hours", "tt-consent"])


def test_a_hold_of_one_channel_leaves_the_others() -> None:
    addresses = (an_address("sms"), an_address("email"))
    consents = frozenset({("sms", "dunning"), ("email", "dunning")})
    closed = known(profile=a_profile(addresses=addresses), consents=consents, holds=(Hold("manual", "none", MORNING, None, None, "sms"),))
    found = verdict(a_scene(closed))
    assert isinstance(found, Send)
    assert found.channel == "email"


def test_a_consent_that_was_taken_back_closes_its_channel_also_where_no_rule_asks_for_one() -> None:
    addresses = (an_address("sms"), an_address("email"))
    state = known(profile=a_profile(addresses=addresses), withdrawn=frozenset({("sms", "dunning")}))
    found = verdict(a_scene(state))
    assert isinstance(found, Send)
    assert found.channel == "email"
    given_to_another = replace(state, withdrawn=frozenset({("sms", "survey")}))
    again = verdict(a_scene(given_to_another))
    assert isinstance(again, Send)
    assert again.channel == "sms"


def test_consent_to_dunning_holds_for_reminders() -> None:
    packs = Packs({**PACKS.by_id, "TT": parse_pack(ASKING, "TT.yaml")})
    due = a_fact(overdue=0, jurisdictions=("TT",), next_due=NextDue(n=2, due_on=date(2026, 11, 30), total=100))
    state = known(due, profile=a_profile(jurisdictions=("TT",)), consents=frozenset({("sms", "dunning")}))
    reminder = a_delivery(channels=("sms",), purpose="reminder")
    assert isinstance(judged(reminder, a_scene(state, packs=packs)), Send)
    refused = replace(state, withdrawn=frozenset({("sms", "reminder")}))
    assert isinstance(judged(reminder, a_scene(refused, packs=packs)), Suppress)


@pytest.mark.parametrize(("ahead", "sent"), [(timedelta(seconds=30), True), (timedelta(days=9000), False)])
def test_a_consent_that_is_dated_ahead_permits_nothing_yet_and_ends_no_opt_out(ahead: timedelta, *, sent: bool) -> None:
    packs = Packs({**PACKS.by_id, "TT": parse_pack(ASKING, "TT.yaml")})
    of = ("sms", "dunning")
    said = known(a_fact(jurisdictions=("TT",)), profile=a_profile(jurisdictions=("TT",)), consents={of}, consented_at={of: MORNING + ahead})
    stopped = known(consented_at={of: MORNING + ahead}, suppressions=(Suppression(Ground.OPT_OUT, "sms", "lookup-sms", MORNING),))
    for state in (said, stopped):
        assert isinstance(judged(a_delivery(channels=("sms",)), a_scene(state, packs=packs)), Send if sent else Suppress)


def test_a_channel_whose_providers_are_paused_is_passed_over_and_waited_for_when_there_is_no_other() -> None:
    both = known(profile=a_profile(addresses=(an_address("email"), an_address("sms"))))
    found = verdict(a_scene(both, resting=frozenset({"sms"})))
    assert isinstance(found, Send)
    assert found.channel == "email"
    waiting = verdict(a_scene(both, resting=frozenset({"sms", "email"})))
    assert isinstance(waiting, Defer)
    assert (waiting.reason, waiting.passing) == ("provider_paused", True)


@pytest.mark.parametrize(
    ("email_until", "expected"), [(None, MORNING + timedelta(seconds=5)), (timedelta(days=2), MORNING + timedelta(days=1))]
)
def test_a_channel_that_rests_is_waited_for_as_long_as_the_rules_would_let_it_out(
    email_until: timedelta | None, expected: datetime
) -> None:
    ends = [("sms", timedelta(days=1))] + ([("email", email_until)] if email_until else [])
    holds = tuple(Hold("manual", "none", MORNING, MORNING + after, None, channel) for channel, after in ends)
    addresses = (an_address("email"), an_address("sms"))
    found = verdict(a_scene(known(profile=a_profile(addresses=addresses), holds=holds), resting=frozenset({"email"})))
    assert isinstance(found, Defer)
    assert (found.until, found.passing) == (expected, email_until is None)


SHARED = """
id: TT
name: A country that counts over numbers and over persons
version: "1"
verified: not law; an invented country
zones: []
rules:
- {id: tt-number, kind: cap, nature: law, cite: "test", evidence: product_default, channels: [any],
   limit: 1, unit: dial, reach: {rolling_elapsed: 1}, scope: number}
- {id: tt-person, kind: cap, nature: law, cite: "test", evidence: product_default, channels: [any],
   limit: 1, unit: dial, reach: {rolling_elapsed: 100}, scope: person}
"""


def test_what_was_said_to_another_at_the_same_number_puts_a_contact_off_by_the_rules_over_numbers_alone() -> None:
    packs = Packs({**PACKS.by_id, "TT": parse_pack(SHARED, "TT.yaml")})
    state = known(a_fact(jurisdictions=("TT",)), profile=a_profile(jurisdictions=("TT",)))
    said = Prior(MORNING - timedelta(minutes=30), Channel.SMS, "", (), "dunwell", to="lookup-sms")
    found = judged(a_delivery(channels=("sms",)), a_scene(state, packs=packs, earlier=lambda _: Earlier(of_others=(said,))))
    assert isinstance(found, Defer)
    assert (found.reason, found.until) == ("tt-number", MORNING + timedelta(minutes=30))


def test_what_no_rule_will_ever_let_out_waits_for_no_provider() -> None:
    dead = known(statuses=(Status("deceased", MORNING, None),))
    assert isinstance(verdict(a_scene(dead, resting=frozenset({"sms"}))), Suppress)
