"""The life of a delivery: it only moves up, and what may have gone out is never sent again."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.value import replace
from services.notifier.domain import delivery as life
from services.notifier.domain.delivery import Change, Delivery, judged, kept_waiting, settled, unknown
from services.notifier.domain.receipts import News, Receipt, Reduced, Standing, reduced, state_of
from services.notifier.domain.results import NO_PERMIT, Accepted, Fault, NotSent, Refused, Result, Unknown
from services.notifier.domain.states import NEXT, Reached, State
from services.notifier.domain.verdicts import Decision, Defer, Expire, Fail, Send, Suppress, Verdict, Wait
from tests.unit.notifier.values import MORNING, NIGHT, a_delivery, a_fact, an_address

TOMORROW = MORNING + timedelta(days=1)
RECEIPTS = st.lists(st.builds(Receipt, st.none() | st.sampled_from(Standing)), max_size=6)
ENDS = frozenset({State.DELIVERED, State.FAILED, State.SUPPRESSED, State.EXPIRED, State.CANCELLED})

results: st.SearchStrategy[Result] = st.sampled_from(
    [
        Accepted("ref"),
        Accepted("ref", "delivered"),
        Refused("invalid", "recipient"),
        Refused("busy", "provider", permanent=False),
        Unknown("cut"),
        NotSent("away"),
    ]
)
verdicts: st.SearchStrategy[Verdict] = st.sampled_from(
    [
        Wait("profile_unknown"),
        Defer(NIGHT, "zz-hours"),
        Defer(NIGHT, "pipeline_stale", passing=True),
        Suppress("paid"),
        Expire(),
        Fail("no_address"),
    ]
)


def a_send(channel: str = "sms") -> Send:
    return Send(channel, an_address(channel), (a_fact(),), Decision("allow", channel, MORNING))


def flying(channel: str = "sms") -> Delivery:
    return judged(a_delivery(), a_send(channel)).delivery


def step(delivery: Delivery, what: Verdict | Result) -> Change:
    if delivery.state is State.PENDING and isinstance(what, Wait | Defer | Suppress | Expire | Fail | Send):
        return judged(delivery, what)
    if delivery.state in {State.IN_FLIGHT, State.UNKNOWN} and isinstance(what, Accepted | Refused | Unknown | NotSent):
        return settled(delivery, what, "sandbox", ("loan",), now=MORNING, resolve_by=TOMORROW)
    return Change(delivery)


@given(st.lists(st.one_of(verdicts, results, st.builds(a_send, st.sampled_from(["sms", "email"]))), max_size=20))
def test_whatever_happens_a_delivery_only_climbs_and_its_numbers_only_rise(happenings: list[Verdict | Result]) -> None:
    delivery, sent = a_delivery(), 0
    for what in happenings:
        change = step(delivery, what)
        after = change.delivery
        assert after.state is delivery.state or after.state in NEXT[delivery.state]
        assert after.sequence == delivery.sequence + len(change.outcomes)
        assert [outcome.sequence for outcome in change.outcomes] == list(range(delivery.sequence + 1, after.sequence + 1))
        assert (after.next_at is None) == (after.state in ENDS | {State.SENT})
        sent += sum(outcome.kind == "sent" for outcome in change.outcomes)
        delivery = after
    assert sent <= 1


@pytest.mark.parametrize("state", sorted(ENDS | {State.UNKNOWN, State.UNRESOLVED}))
def test_what_has_ended_or_is_unknown_is_never_pending_again(state: State) -> None:
    assert not NEXT[state] & {State.PENDING, State.IN_FLIGHT}


def test_a_step_down_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot become"):
        judged(replace(a_delivery(), state=State.SENT), Expire())


def test_a_refusal_moves_to_the_next_channel_and_the_last_one_ends_it() -> None:
    first = settled(flying("sms"), Refused("invalid", "recipient"), "sandbox", (), now=MORNING, resolve_by=TOMORROW)
    assert (first.delivery.state, first.delivery.spent, first.outcomes) == (State.PENDING, ("sms",), ())
    second = settled(
        judged(first.delivery, a_send("email")).delivery, Refused("invalid", "recipient"), "sandbox", (), now=MORNING, resolve_by=TOMORROW
    )
    assert (second.delivery.state, [o.kind for o in second.outcomes]) == (State.FAILED, ["failed"])


def test_a_refusal_for_now_spends_no_channel() -> None:
    change = settled(flying(), Refused("throttled", "throttled", permanent=False), "sandbox", (), now=MORNING, resolve_by=TOMORROW)
    assert (change.delivery.state, change.delivery.spent) == (State.PENDING, ())


def test_what_was_not_sent_is_tried_again_later_and_not_after_its_end() -> None:
    delivery = flying()
    for _ in range(20):
        delivery = settled(delivery, NotSent("away"), "sandbox", (), now=MORNING, resolve_by=TOMORROW).delivery
        assert delivery.next_at is not None
        assert MORNING <= delivery.next_at <= MORNING + timedelta(minutes=5)
        delivery = judged(delivery, a_send()).delivery
    ending = replace(delivery, request=a_delivery(expires_at=MORNING + timedelta(milliseconds=1)).request)
    assert settled(ending, NotSent("away"), "sandbox", (), now=MORNING, resolve_by=TOMORROW).delivery.next_at == MORNING + timedelta(
        milliseconds=1
    )


def test_a_late_answer_lifts_what_was_unknown() -> None:
    lost = unknown(flying(), "process_gone", now=MORNING, resolve_by=TOMORROW).delivery
    assert settled(lost, Accepted("ref", "delivered"), "sandbox", (), now=MORNING, resolve_by=TOMORROW).delivery.state is State.DELIVERED
    assert settled(lost, Unknown("cut"), "sandbox", (), now=MORNING, resolve_by=TOMORROW).outcomes == ()
    assert settled(lost, NotSent("away"), "sandbox", (), now=MORNING, resolve_by=TOMORROW).delivery.state is State.FAILED


def test_a_deferral_is_announced_once_for_each_reason_and_moment() -> None:
    first = judged(a_delivery(), Defer(NIGHT, "zz-hours"))
    again = judged(first.delivery, Defer(NIGHT, "zz-hours"))
    later = judged(again.delivery, Defer(NIGHT + timedelta(hours=1), "zz-hours"))
    assert [len(change.outcomes) for change in (first, again, later)] == [1, 0, 1]


def test_a_passing_deferral_is_announced_once_for_each_reason() -> None:
    first = judged(a_delivery(), Defer(MORNING + timedelta(seconds=1), "pipeline_stale", passing=True))
    again = judged(first.delivery, Defer(MORNING + timedelta(seconds=2), "pipeline_stale", passing=True))
    assert [len(change.outcomes) for change in (first, again)] == [1, 0]
    assert again.delivery.next_at == MORNING + timedelta(seconds=2)


def test_a_deferral_beyond_the_end_waits_for_the_end() -> None:
    delivery = a_delivery(expires_at=MORNING + timedelta(hours=1))
    assert judged(delivery, Defer(NIGHT, "zz-hours")).delivery.next_at == MORNING + timedelta(hours=1)


@given(floor=st.integers(1, 7200))
def test_a_retry_does_not_come_before_the_moment_that_the_provider_named(floor: int) -> None:
    throttled = Refused("20429", "throttled", permanent=False, retry_after=timedelta(seconds=floor))
    for channels in (("sms",), ("sms", "email")):
        delivery = judged(a_delivery(channels=channels), a_send()).delivery
        again = settled(delivery, throttled, "twilio", (), now=MORNING, resolve_by=TOMORROW).delivery
        assert again.state is State.PENDING
        assert again.next_at is not None
        assert again.next_at >= MORNING + timedelta(seconds=floor) or (again.spent == ("sms",) and "email" in channels)


@pytest.mark.parametrize("fault", ["throttled_recipient", "throttled_content"])
def test_a_limit_of_this_address_or_text_alone_makes_longer_pauses_than_a_busy_provider(fault: Fault) -> None:
    def paused(result: Result, tries: int) -> timedelta:
        again = settled(replace(flying(), tries=tries), result, "main", (), now=MORNING, resolve_by=TOMORROW).delivery
        assert again.next_at is not None
        return again.next_at - MORNING

    mine = [paused(Refused("limit", fault, permanent=False), tries) for tries in range(5)]
    theirs = [paused(Refused("busy", "provider", permanent=False), tries) for tries in range(5)]
    assert all(one > other for one, other in zip(mine, theirs, strict=True))


@given(tries=st.integers(0, 60), turn=st.integers(1, 60))
def test_pauses_are_the_same_for_the_same_try_and_never_longer_than_their_bound(tries: int, turn: int) -> None:
    tried = replace(flying(), tries=tries, turn=turn, tried_since=MORNING)
    first, again = (settled(tried, NotSent("away"), "main", (), now=MORNING, resolve_by=TOMORROW).delivery.next_at for _ in range(2))
    assert first == again
    assert first is not None
    assert MORNING <= first <= MORNING + min(life.BACKOFF * 2 ** min(tries, 10), life.LONGEST_BACKOFF)


def test_a_message_that_missed_its_permit_is_due_at_once_and_no_try_is_counted() -> None:
    missed = settled(flying(), NotSent(NO_PERMIT), "main", (), now=MORNING, resolve_by=TOMORROW)
    assert (missed.delivery.state, missed.delivery.next_at, missed.delivery.tries) == (State.PENDING, MORNING, 0)
    assert missed.outcomes == ()
    waiting = kept_waiting(a_delivery(), MORNING + timedelta(seconds=9))
    assert (waiting.delivery.next_at, waiting.outcomes) == (MORNING + timedelta(seconds=9), ())
    late = kept_waiting(a_delivery(expires_at=MORNING), MORNING + timedelta(days=9))
    assert late.delivery.next_at == MORNING


def test_a_channel_on_which_nothing_goes_out_is_left_for_the_next_one_after_half_an_hour_and_the_last_one_never() -> None:
    delivery, now, tries = a_delivery(expires_at=MORNING + timedelta(days=1)), MORNING, Counter[str]()
    while now < MORNING + timedelta(hours=3):
        channel = next(one for one in delivery.request.channels if one not in delivery.spent)
        tries[channel] += 1
        started = judged(delivery, a_send(channel)).delivery
        delivery = settled(started, NotSent("away"), "main", (), now=now, resolve_by=TOMORROW).delivery
        assert delivery.next_at is not None
        now = delivery.next_at
        if now < MORNING + life.TRY_FOR - life.LONGEST_BACKOFF:
            assert delivery.spent == ()
    assert delivery.spent == ("sms",)
    assert tries["sms"] > 5
    assert tries["email"] > 20


def test_a_channel_that_rules_have_closed_over_night_has_its_half_an_hour_anew() -> None:
    evening = settled(
        judged(a_delivery(expires_at=TOMORROW), a_send("sms")).delivery, NotSent("away"), "main", (), now=MORNING, resolve_by=TOMORROW
    ).delivery  # fmt: skip
    late = MORNING + timedelta(hours=10)
    at_last = judged(judged(evening, Defer(late, "hours")).delivery, a_send("sms")).delivery
    assert settled(at_last, NotSent("away"), "main", (), now=late, resolve_by=TOMORROW).delivery.spent == ()


def receipted(
    delivery: Delivery, said: Reduced, provider: str, loans: tuple[str, ...], *, code: str | None, was: Reduced | None = None
) -> Change:
    """Return the delivery after all receipts of its last attempt, where `before` had already been reported."""
    if said.standing is None:
        return Change(delivery)
    known = {State.IN_FLIGHT: State.UNKNOWN, State.UNKNOWN: State.UNKNOWN, State.SENT: State.SENT}.get(delivery.state)
    if was is not None and was.standing is not None:
        known = state_of(None, was.standing.name.lower())
    before = () if known is None else (Reached(known, delivery.channel),)
    return life.heard(delivery, News(delivery.channel or "", said.standing, before, provider, loans, code), now=MORNING)


def starts(fallback_after: timedelta | None = None) -> dict[str, Delivery]:
    """Deliveries for which a receipt may come: in flight, unknown, sent, being retried."""

    def flying() -> Delivery:
        return judged(a_delivery(fallback_after=fallback_after), a_send()).delivery

    return {
        "in_flight": flying(),
        "unknown": unknown(flying(), "cut", now=MORNING, resolve_by=TOMORROW).delivery,
        "sent": settled(flying(), Accepted("ref"), "main", (), now=MORNING, resolve_by=TOMORROW).delivery,
        "pending": settled(flying(), NotSent("away"), "main", (), now=MORNING, resolve_by=TOMORROW).delivery,
    }


def heard(delivery: Delivery, batches: list[list[Receipt]]) -> tuple[Delivery, list[str]]:
    """Return the delivery after receipts that came in these batches, and what was announced."""
    told: list[Receipt] = []
    kinds: list[str] = []
    for batch in batches:
        was = reduced(told)
        told += batch
        change = receipted(delivery, reduced(told), "main", (), code="30003", was=was)
        assert change.delivery.sequence == delivery.sequence + len(change.outcomes)
        delivery = change.delivery
        kinds += [outcome.kind for outcome in change.outcomes]
    return delivery, kinds


@given(
    start=st.sampled_from(["in_flight", "unknown", "sent", "pending"]),
    fallback_after=st.sampled_from([None, timedelta(hours=1)]),
    receipts=RECEIPTS,
    seed=st.randoms(),
)
def test_the_order_and_the_repetition_of_receipts_do_not_change_how_far_a_contact_came(
    start: str, fallback_after: timedelta | None, receipts: list[Receipt], seed: Any
) -> None:
    before = starts(fallback_after)[start]
    shuffled = receipts * 2
    seed.shuffle(shuffled)
    one_by_one, kinds = heard(before, [[receipt] for receipt in shuffled])
    at_once, _ = heard(before, [receipts])
    assert one_by_one.state is at_once.state
    assert all(kinds.count(kind) <= 1 for kind in ("sent", "delivered", "failed"))


def test_a_receipt_stops_a_retry_of_what_went_out_after_all() -> None:
    for standing, state in ((Standing.ACCEPTED, State.SENT), (Standing.DELIVERED, State.DELIVERED)):
        change = receipted(starts()["pending"], Reduced(standing), "main", ("loan",), code=None)
        assert (change.delivery.state, change.delivery.next_at) == (state, None)


def test_a_failure_of_a_channel_that_refused_does_not_end_the_next_one() -> None:
    moved_on = settled(flying("sms"), Refused("invalid", "recipient"), "main", (), now=MORNING, resolve_by=TOMORROW).delivery
    assert receipted(moved_on, Reduced(Standing.FAILED), "main", (), code="1").delivery == moved_on


@pytest.mark.parametrize("standing", [Standing.SENT, Standing.FAILED])
def test_a_receipt_of_what_was_refused_for_good_changes_nothing_of_a_failure_unless_it_arrived(standing: Standing) -> None:
    alone = judged(a_delivery(channels=("sms",)), a_send()).delivery
    refused = settled(alone, Refused("invalid", "recipient"), "main", (), now=MORNING, resolve_by=TOMORROW).delivery
    assert receipted(refused, Reduced(standing), "main", (), code="1") == Change(refused)
    arrived = receipted(refused, Reduced(Standing.DELIVERED), "main", (), code=None)
    assert (arrived.delivery.state, [outcome.kind for outcome in arrived.outcomes]) == (State.DELIVERED, ["delivered"])


@pytest.mark.parametrize("state", [State.SUPPRESSED, State.EXPIRED, State.CANCELLED])
def test_what_was_called_off_or_expired_is_not_lifted_by_a_receipt(state: State) -> None:
    ended = replace(a_delivery(), state=state)
    assert receipted(ended, Reduced(Standing.DELIVERED), "main", (), code=None) == Change(ended)
