import dataclasses
from datetime import datetime

import pytest

from libs.common.value import replace
from libs.compliance import (
    STOPS,
    Allow,
    CapKey,
    CapScope,
    Channel,
    Circumstances,
    Deny,
    Packs,
    Preferences,
    Profile,
    Proposed,
    Purpose,
    RuleKind,
    StopContacts,
    StopKind,
    StopScope,
    TenantHours,
    cap_keys,
    decide,
    load_packs,
)
from tests.unit.compliance.build import contact, known, packs_with, proposed, stop

NOON = "2027-01-12T12:00:00+01:00"
PACKS = load_packs()


def denied(asked: Proposed, circumstances: Circumstances, packs: Packs = PACKS) -> Deny:
    answer = decide(asked, circumstances, packs)
    assert isinstance(answer, Deny)
    return answer


def allowed(asked: Proposed, circumstances: Circumstances, packs: Packs = PACKS) -> Allow:
    answer = decide(asked, circumstances, packs)
    assert isinstance(answer, Allow), answer
    return answer


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("moment", "passes"),
    [
        ("2027-01-12T07:59:59.999999+01:00", False),
        ("2027-01-12T08:00:00+01:00", True),
        ("2027-01-12T21:59:59.999999+01:00", True),
        ("2027-01-12T22:00:00+01:00", False),
    ],
)
def test_the_first_second_of_the_window_is_open_and_its_last_is_closed(moment: str, passes: bool) -> None:
    assert isinstance(decide(proposed(moment), known(), PACKS), Allow) is passes


def test_an_allowed_contact_names_the_end_of_its_window_and_the_version_of_the_pack() -> None:
    answer = allowed(proposed(NOON), known())
    assert answer.window_ends == at("2027-01-12T22:00:00+01:00")
    assert answer.packs == {"ZZ": PACKS["ZZ"].version}
    assert answer.reservations == ()


def test_a_refusal_cites_the_rule_and_says_until_when() -> None:
    answer = denied(proposed("2027-01-12T23:00:00+01:00"), known())
    assert answer.earliest == at("2027-01-13T08:00:00+01:00")
    (reason,) = answer.reasons
    assert (reason.rule, reason.kind, reason.until) == ("zz-hours", RuleKind.WINDOW, answer.earliest)
    assert "ZZ" in reason.cite


def test_two_possible_zones_are_both_heard() -> None:
    circumstances = known(zones=("America/New_York", "America/Los_Angeles"))
    assert denied(proposed("2027-01-12T10:30:00-05:00"), circumstances).earliest == at("2027-01-12T11:00:00-05:00")


@pytest.mark.parametrize("zones", [None, (), ("Mars/Olympus_Mons",), ("Europe/Berlin", "Mars/Olympus_Mons")])
def test_an_unknown_zone_in_a_pack_without_zones_never_passes_and_asks_for_the_zone(zones: tuple[str, ...] | None) -> None:
    answer = denied(proposed(NOON), known(zones=zones))
    assert answer.earliest is None
    assert RuleKind.ZONE in {reason.kind for reason in answer.reasons}


def test_an_unknown_zone_is_every_zone_of_its_pack() -> None:
    packs = packs_with('- id: hours\n  kind: window\n  hours: {every: "08:00-22:00"}')
    assert allowed(proposed(NOON), known(jurisdictions=("XX",), zones=None), packs).window_ends == at("2027-01-12T22:00:00+01:00")


@pytest.mark.parametrize("names", [("QQ",), ("ZZ", "QQ"), ("ZZ-NORTH",), ()])
def test_an_unknown_jurisdiction_is_refused_with_a_reason_a_person_can_act_on(names: tuple[str, ...]) -> None:
    answer = denied(proposed(NOON), known(jurisdictions=names))
    assert answer.earliest is None
    assert [reason.rule for reason in answer.reasons] == ["jurisdiction-unknown"]
    assert "name the borrower's" in answer.reasons[0].cite


def test_a_moment_without_offset_is_no_question() -> None:
    with pytest.raises(ValueError, match="offset"):
        decide(proposed("2027-01-12T12:00:00"), known(), PACKS)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("channel", Channel)
def test_the_death_of_the_borrower_stops_everything(purpose: Purpose, channel: Channel) -> None:
    answer = denied(proposed(NOON, channel, purpose), known(stops=(stop("deceased", "person"),)))
    assert answer.earliest is None


def test_a_dispute_on_one_debt_does_not_stop_another() -> None:
    circumstances = known(stops=(stop("dispute", "debt", debt="A"),))
    allowed(proposed(NOON, debts=("B",)), circumstances)
    assert denied(proposed(NOON, debts=("A",)), circumstances).earliest is None
    denied(proposed(NOON, debts=("B", "A")), circumstances)
    denied(proposed(NOON, debts=()), circumstances)


def test_a_stop_of_one_channel_leaves_the_others() -> None:
    opted_out = replace(stop("opt_out", "channel"), channel="sms")
    denied(proposed(NOON, "sms"), known(stops=(opted_out,)))
    allowed(proposed(NOON, "email"), known(stops=(opted_out,)))
    allowed(proposed(NOON, "sms", "confirmation"), known(stops=(opted_out,)))


@pytest.mark.parametrize("kind", StopKind)
@pytest.mark.parametrize("purpose", Purpose)
def test_only_the_purposes_of_its_row_pass_a_stop(kind: StopKind, purpose: Purpose) -> None:
    answer = decide(proposed(NOON, purpose=purpose), known(stops=(stop(kind, STOPS[kind].scope),)), PACKS)
    assert isinstance(answer, Allow) is (purpose in STOPS[kind].passes)


def test_every_stop_has_a_row_and_none_lets_dunning_pass() -> None:
    assert set(STOPS) == set(StopKind)
    assert not any({Purpose.DUNNING, Purpose.REMINDER} & row.passes for row in STOPS.values())


def test_a_stop_told_to_leave_nothing_leaves_nothing() -> None:
    total = replace(stop("dispute", "person"), contacts=StopContacts.NONE)
    denied(proposed(NOON, purpose="notice"), known(stops=(total,)))
    allowed(proposed(NOON, purpose="notice"), known(stops=(stop("dispute", "person"),)))


def test_the_earliest_moment_is_sought_over_stops_and_hours_together() -> None:
    held = stop("manual", "person", until="2027-01-14T23:30:00+01:00")
    assert denied(proposed(NOON), known(stops=(held,))).earliest == at("2027-01-15T08:00:00+01:00")


def test_a_stop_that_ends_in_two_years_has_an_earliest_moment() -> None:
    held = stop("moratorium", "person", until="2029-01-14T23:30:00+01:00")
    assert denied(proposed(NOON), known(stops=(held,))).earliest == at("2029-01-15T08:00:00+01:00")


def test_a_stop_that_begins_later_ends_the_window() -> None:
    later = stop("promise", "debt", since="2027-01-12T15:00:00+01:00")
    assert allowed(proposed(NOON), known(stops=(later,))).window_ends == at("2027-01-12T15:00:00+01:00")


def test_the_wishes_of_the_borrower_narrow_the_hours() -> None:
    wishes = Preferences.parse({"no_contact": [{"days": ["tue"], "from": "11:00", "to": "18:00"}]})
    answer = denied(proposed(NOON), known(preferences=wishes))
    assert answer.earliest == at("2027-01-12T18:00:00+01:00")
    assert answer.reasons[0].cite == "borrower's wish"
    assert allowed(proposed("2027-01-12T09:00:00+01:00"), known(preferences=wishes)).window_ends == at("2027-01-12T11:00:00+01:00")


def test_a_quiet_night_runs_over_midnight_into_the_next_day() -> None:
    wishes = Preferences.parse({"no_contact": [{"days": ["mon"], "from": "20:00", "to": "09:30"}]})
    assert denied(proposed("2027-01-11T20:00:00+01:00"), known(preferences=wishes)).earliest == at("2027-01-12T09:30:00+01:00")
    allowed(proposed("2027-01-13T08:00:00+01:00"), known(preferences=wishes))


def test_a_channel_the_borrower_does_not_want_is_not_used() -> None:
    wishes = Preferences.parse({"no_channels": ["sms"]})
    denied(proposed(NOON, "sms"), known(preferences=wishes))
    allowed(proposed(NOON, "email"), known(preferences=wishes))


def test_the_hours_of_the_tenant_narrow_further_and_say_whose_they_are() -> None:
    hours = TenantHours.parse({"mon-sat": "08:00-20:00"})
    answer = denied(proposed("2027-01-16T20:00:00+01:00"), known(tenant_hours=hours))
    assert answer.earliest == at("2027-01-18T08:00:00+01:00")
    assert answer.reasons[0].cite == "tenant hours"


CAPPED = """
- id: hours
  kind: window
  hours: {every: "08:00-22:00"}
- id: two-a-day
  kind: cap
  limit: 2
  unit: contact
  reach: {rolling_calendar_days: 1}
  scope: debt
  channels: [messages]
  exempt: [notice, answer]
"""


def test_a_full_counter_frees_at_the_next_opening_after_it_rolls_off() -> None:
    packs, two = packs_with(CAPPED), (contact("2027-01-12T09:00:00+01:00"), contact("2027-01-12T10:00:00+01:00", "push"))
    xx = known(jurisdictions=("XX",), prior=two)
    answer = denied(proposed(NOON), xx, packs)
    assert answer.earliest == at("2027-01-13T08:00:00+01:00")
    assert [(reason.rule, reason.until) for reason in answer.reasons] == [("two-a-day", at("2027-01-13T00:00:00+01:00"))]
    allowed(proposed(NOON, debts=("B",)), xx, packs)
    allowed(proposed(NOON, purpose="answer"), xx, packs)
    allowed(proposed(NOON, "call"), xx, packs)


@pytest.mark.parametrize(
    ("result", "kind", "counts"), [("", None, True), ("delivered", None, True), ("bounced", None, False), ("", "statutory_notice", False)]
)
def test_what_is_unknown_counts_and_what_surely_failed_or_is_exempt_does_not(result: str, kind: str | None, counts: bool) -> None:
    prior = (contact("2027-01-12T09:00:00+01:00"), contact("2027-01-12T10:00:00+01:00", result=result, kind=kind))
    answer = decide(proposed(NOON), known(jurisdictions=("XX",), prior=prior), packs_with(CAPPED))
    assert isinstance(answer, Deny) is counts


def test_a_counted_date_is_over_when_it_is_over_in_every_zone() -> None:
    packs = packs_with(CAPPED)
    late = (contact("2027-01-11T23:30:00-08:00"),) * 2
    circumstances = known(jurisdictions=("XX",), zones=("America/Los_Angeles", "America/New_York"), prior=late)
    assert denied(proposed("2027-01-12T09:00:00-08:00"), circumstances, packs).earliest == at("2027-01-13T08:00:00-08:00")


def test_a_contact_that_names_no_debt_counts_for_every_debt() -> None:
    prior = (contact("2027-01-12T09:00:00+01:00", debts=()),) * 2
    denied(proposed(NOON, debts=("B",)), known(jurisdictions=("XX",), prior=prior), packs_with(CAPPED))


def test_a_message_about_several_debts_is_reserved_for_each_in_order() -> None:
    asked, circumstances, packs = proposed(NOON, debts=("B", "A")), known(jurisdictions=("XX",)), packs_with(CAPPED)
    keys = (CapKey(CapScope.DEBT, "A", "two-a-day"), CapKey(CapScope.DEBT, "B", "two-a-day"))
    assert cap_keys(asked, circumstances, packs) == keys
    assert allowed(asked, circumstances, packs).reservations == keys
    assert cap_keys(proposed(NOON, purpose="notice"), circumstances, packs) == ()


SOFT = """
- id: hours
  kind: window
  hours: {every: "08:00-22:00"}
- id: consent
  kind: consent
  channels: [sms]
  exempt: [consent_request]
"""


def test_a_channel_without_consent_is_refused_where_the_pack_asks_and_the_list_is_known() -> None:
    packs = packs_with(SOFT)
    denied(proposed(NOON), known(jurisdictions=("XX",), consents=frozenset()), packs)
    allowed(proposed(NOON), known(jurisdictions=("XX",), consents=None), packs)
    allowed(proposed(NOON), known(jurisdictions=("XX",), consents=frozenset({Channel.SMS})), packs)
    allowed(proposed(NOON, "email"), known(jurisdictions=("XX",), consents=frozenset()), packs)
    allowed(proposed(NOON, purpose="consent_request"), known(jurisdictions=("XX",), consents=frozenset()), packs)


def test_a_recommendation_binds_the_strict_only() -> None:
    rules = '- id: hours\n  kind: window\n  hours: {every: "08:00-09:00"}'
    (pack,) = packs_with(rules).values()
    terms = pack.rules[0].terms
    weaker = dataclasses.replace(terms, nature=type(terms.nature).RECOMMENDATION)
    soft = Packs({"XX": dataclasses.replace(pack, rules=(dataclasses.replace(pack.rules[0], terms=weaker),))})
    denied(proposed(NOON), known(jurisdictions=("XX",)), soft)
    allowed(proposed(NOON), known(jurisdictions=("XX",), profile=Profile.LEGAL_FLOOR), soft)


DATED = """
- id: old
  kind: window
  until: 2027-01-13
  hours: {every: "08:00-10:00"}
- id: new
  kind: window
  since: 2027-01-13
  hours: {every: "11:00-12:00"}
"""


def test_the_version_of_a_rule_is_chosen_by_the_moment_of_contact() -> None:
    packs, circumstances = packs_with(DATED), known(jurisdictions=("XX",))
    allowed(proposed("2027-01-12T09:00:00+01:00"), circumstances, packs)
    assert denied(proposed("2027-01-12T10:00:00+01:00"), circumstances, packs).earliest == at("2027-01-13T11:00:00+01:00")


REGIONS = """
- id: north
  kind: window
  regions: [N]
  hours: {every: "08:00-12:00"}
- id: south
  kind: window
  regions: [S]
  hours: {every: "10:00-22:00"}
"""


def test_a_pack_without_its_region_is_every_region_at_once() -> None:
    packs = packs_with(REGIONS, more="regions: [N, S]")
    allowed(proposed("2027-01-12T09:00:00+01:00"), known(jurisdictions=("XX-N",)), packs)
    assert denied(proposed("2027-01-12T09:00:00+01:00"), known(jurisdictions=("XX",)), packs).earliest == at("2027-01-12T10:00:00+01:00")
    denied(proposed("2027-01-12T11:00:00+01:00"), known(jurisdictions=("XX-W",)), packs)


def test_after_the_last_year_of_its_calendar_a_day_may_be_a_holiday() -> None:
    rules = '- id: hours\n  kind: window\n  calendar: few\n  hours: {every: "08:00-20:00", holiday: none}'
    packs = packs_with(rules, more="calendars: {few: {years: [2027, 2027], fixed: ['01-12']}}")
    circumstances = known(jurisdictions=("XX",))
    assert denied(proposed(NOON), circumstances, packs).earliest == at("2027-01-13T08:00:00+01:00")
    assert denied(proposed("2028-01-12T12:00:00+01:00"), circumstances, packs).earliest is None


def test_a_further_jurisdiction_adds_its_rules() -> None:
    packs = Packs(dict(packs_with(CAPPED)) | {"ZZ": PACKS["ZZ"]})
    prior = (contact("2027-01-12T09:00:00+01:00"),) * 2
    allowed(proposed(NOON), known(prior=prior), packs)
    denied(proposed(NOON), known(jurisdictions=("ZZ", "XX"), prior=prior), packs)


def test_a_debt_scope_reaches_every_debt_when_it_names_none() -> None:
    denied(proposed(NOON), known(stops=(stop("in_doubt", StopScope.DEBT),)))
