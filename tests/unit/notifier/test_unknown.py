"""What may have gone out: its deadline, its next channel, news that come late, and a database that went back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifier.domain.delivery import (
    CLOCKS_APART,
    LOST,
    NUMBERS_OF_AN_EPOCH,
    TOUCHED,
    UNPROVEN,
    Change,
    Delivery,
    asked_again,
    fallen_back,
    heard,
    judged,
    restored,
    settled,
    unknown,
    unproven,
    unresolved,
)
from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown
from services.notifier.domain.states import MAY_BE_OUT, NEXT, Standing, State
from services.notifier.domain.verdicts import Decision, Expire, Send, Suppress, Verdict, Wait
from tests.unit.notifier.values import MORNING, a_delivery, a_fact, an_address

TOMORROW = MORNING + timedelta(days=1)
HOUR = timedelta(hours=1)
ALL = ("sms", "email", "push")
REFUSED = Refused("invalid", "recipient")


def flying(channel: str = "sms", **changes: Any) -> Delivery:
    return marked(a_delivery(**{"channels": ALL, **changes}), channel)


def marked(delivery: Delivery, channel: str) -> Delivery:
    return judged(delivery, Send(channel, an_address(channel), (a_fact(),), Decision("allow", channel, MORNING))).delivery


def after(delivery: Delivery, result: Result) -> Change:
    return settled(delivery, result, "sandbox", ("loan",), now=MORNING, resolve_by=TOMORROW)


def kinds(change: Change) -> list[tuple[str, str | None]]:
    return [(outcome.kind, outcome.channel) for outcome in change.outcomes]


def test_an_unknown_contact_waits_for_its_deadline_and_is_then_closed_as_such() -> None:
    held = after(flying(), Unknown("cut"))
    assert (held.delivery.state, held.delivery.next_at, held.outcomes[0].until) == (State.UNKNOWN, TOMORROW, TOMORROW)
    closed = unresolved(held.delivery)
    assert (closed.delivery.state, closed.delivery.next_at, closed.delivery.reason) == (State.UNRESOLVED, None, "cut")
    assert [(outcome.kind, outcome.final) for outcome in (*held.outcomes, *closed.outcomes)] == [("unknown", False), ("unknown", True)]


@pytest.mark.parametrize(("news", "state"), [((State.SENT,), State.SENT), ((State.SENT, State.DELIVERED), State.DELIVERED)])
def test_news_after_the_deadline_still_lift_what_was_closed_as_unresolved(news: tuple[State, ...], state: State) -> None:
    closed = unresolved(after(flying(), Unknown("cut")).delivery).delivery
    lifted = heard(closed, "sms", news, provider="sandbox", loans=())
    assert (lifted.delivery.state, lifted.delivery.next_at, [kind for kind, _ in kinds(lifted)]) == (state, None, list(news))


def test_an_unknown_contact_goes_on_to_the_next_channel_only_where_its_request_says_so() -> None:
    assert after(flying(), Unknown("cut")).delivery.state is State.UNKNOWN
    on = after(flying(on_unknown="next_channel"), Unknown("cut"))
    assert (on.delivery.state, on.delivery.spent, on.delivery.next_at) == (State.PENDING, ("sms",), MORNING)
    assert kinds(on) == [("unknown", "sms")]


@pytest.mark.parametrize("changes", [{"channels": ("sms",)}, {"expires_at": MORNING + HOUR}])
def test_where_no_channel_is_left_or_it_was_called_off_an_unknown_contact_is_held(changes: dict[str, Any]) -> None:
    delivery = flying(on_unknown="next_channel", **changes)
    delivery = replace(delivery, cancelled="channels" not in changes)
    assert after(delivery, Unknown("cut")).delivery.state is State.UNKNOWN


@pytest.mark.parametrize("ending", [Suppress("paid"), Expire(), REFUSED])
def test_a_contact_that_may_have_gone_out_never_ends_as_if_it_had_not(ending: Suppress | Expire | Refused) -> None:
    on = after(flying(on_unknown="next_channel", channels=("sms", "email")), Unknown("cut")).delivery
    change = after(marked(on, "email"), ending) if isinstance(ending, Refused) else judged(on, ending)
    assert (change.delivery.state, change.delivery.channel, change.delivery.next_at) == (State.UNKNOWN, "sms", TOMORROW)
    assert change.outcomes == ()


def test_a_message_whose_receipt_stays_away_goes_to_the_next_channel_once() -> None:
    sent = after(flying(fallback_after=HOUR), Accepted("ref")).delivery
    assert (sent.state, sent.next_at) == (State.SENT, MORNING + HOUR)
    second = fallen_back(sent, now=MORNING + HOUR).delivery
    assert (second.state, second.spent, second.reason) == (State.PENDING, ("sms",), "no_receipt")
    again = after(marked(second, "email"), Accepted("ref"))
    assert (again.delivery.state, again.delivery.next_at, kinds(again)) == (State.SENT, None, [("sent", "email")])


@pytest.mark.parametrize(
    ("changes", "channel", "result"),
    [
        ({"fallback_after": None}, "sms", Accepted("ref")),
        ({"fallback_after": HOUR}, "push", Accepted("ref")),
        ({"fallback_after": HOUR, "channels": ("sms",)}, "sms", Accepted("ref")),
        ({"fallback_after": HOUR, "expires_at": MORNING + HOUR}, "sms", Accepted("ref")),
        ({"fallback_after": HOUR}, "sms", Accepted("ref", "delivered")),
    ],
)
def test_nothing_waits_for_a_receipt_that_comes_never_or_too_late_or_is_there(
    changes: dict[str, Any], channel: str, result: Result
) -> None:
    assert after(flying(channel, **changes), result).delivery.next_at is None


def test_a_receipt_that_comes_before_the_second_message_keeps_it_from_going_out() -> None:
    second = fallen_back(after(flying(fallback_after=HOUR), Accepted("ref")).delivery, now=MORNING + HOUR).delivery
    late = heard(second, "sms", (State.DELIVERED,), provider="sandbox", loans=())
    assert (late.delivery.state, late.delivery.channel, kinds(late)) == (State.DELIVERED, "sms", [("delivered", "sms")])


def test_a_receipt_of_the_first_message_that_comes_after_the_second_is_kept_beside_it() -> None:
    second = fallen_back(after(flying(fallback_after=HOUR), Accepted("ref")).delivery, now=MORNING + HOUR).delivery
    in_flight = heard(marked(second, "email"), "sms", (State.DELIVERED,), provider="sandbox", loans=())
    assert (in_flight.delivery.state, kinds(in_flight)) == (State.IN_FLIGHT, [("delivered", "sms")])
    both = after(in_flight.delivery, Accepted("ref"))
    assert (both.delivery.state, both.delivery.channel, kinds(both)) == (State.DELIVERED, "sms", [("sent", "email")])
    last = heard(both.delivery, "email", (State.DELIVERED,), provider="sandbox", loans=())
    assert (last.delivery.state, kinds(last)) == (State.DELIVERED, [("delivered", "email")])


def test_of_two_unknown_channels_neither_is_used_again_when_the_answer_of_one_comes_late() -> None:
    first = after(flying("email", on_unknown="next_channel", channels=("email", "sms"), fallback_after=HOUR), Unknown("cut")).delivery
    both = after(marked(first, "sms"), Unknown("cut")).delivery
    assert (both.state, both.channel, set(both.spent)) == (State.UNKNOWN, "email", {"email", "sms"})
    late = heard(both, "sms", (State.SENT,), provider="sandbox", loans=())
    assert (late.delivery.state, late.delivery.channel, late.delivery.next_at) == (State.SENT, "sms", None)


@pytest.mark.parametrize("answer", [NotSent("away"), REFUSED])
def test_a_receipt_that_overtakes_its_answer_is_believed_whatever_the_answer_says(answer: Result) -> None:
    early = heard(flying(), "sms", (State.SENT,), provider="sandbox", loans=()).delivery
    change = after(early, answer)
    assert (early.state, change.delivery.state, change.outcomes) == (State.IN_FLIGHT, State.SENT, ())


def test_a_second_message_of_which_nothing_is_known_leaves_the_first_as_sent() -> None:
    second = fallen_back(after(flying(fallback_after=HOUR, on_unknown="next_channel"), Accepted("ref")).delivery, now=MORNING + HOUR)
    change = after(marked(second.delivery, "email"), Unknown("cut"))
    assert (change.delivery.state, change.delivery.channel, kinds(change)) == (State.SENT, "sms", [("unknown", "email")])


SINCE = MORNING + 5 * HOUR


def back(delivery: Delivery, *, reads_again: bool = False) -> Change:
    return restored(delivery, epoch=3, since=SINCE, resolve_by=TOMORROW, reads_again=reads_again)


@pytest.mark.parametrize(
    ("due_in", "waiting", "kept"),
    [
        (timedelta(), False, False),
        (CLOCKS_APART - timedelta(microseconds=1), False, False),
        (CLOCKS_APART, False, True),
        (CLOCKS_APART, True, False),
        (24 * HOUR, True, False),
    ],
)
def test_only_what_nothing_could_make_due_in_the_lost_time_stays_open(due_in: timedelta, *, waiting: bool, kept: bool) -> None:
    change = back(replace(a_delivery(), next_at=SINCE + due_in, waiting=waiting))
    assert (change.delivery.state is State.PENDING, change.delivery.reason) == (kept, None if kept else LOST)


def test_what_waited_beyond_the_lost_time_is_unproven_where_the_bus_is_read_again() -> None:
    waiting = replace(a_delivery(), next_at=SINCE + 24 * HOUR, waiting=True)
    change = back(waiting, reads_again=True)
    assert (change.delivery.state, change.delivery.lost_time, change.outcomes) == (State.PENDING, UNPROVEN, ())
    again = unproven(change.delivery, now=SINCE + HOUR, resolve_by=TOMORROW)
    assert (again.delivery.state, again.delivery.next_at) == (State.PENDING, SINCE + HOUR + timedelta(seconds=1))
    assert back(replace(waiting, lost_time=TOUCHED), reads_again=True).delivery.state is State.UNKNOWN


@pytest.mark.parametrize(("lost_time", "moment"), [(TOUCHED, SINCE + HOUR), (UNPROVEN, MORNING + timedelta(days=2))])
def test_what_was_touched_or_unproven_to_its_end_is_unknown(lost_time: str, moment: datetime) -> None:
    change = unproven(replace(a_delivery(), lost_time=lost_time), now=moment, resolve_by=TOMORROW)
    assert (change.delivery.state, change.delivery.reason, change.delivery.lost_time) == (State.UNKNOWN, LOST, None)


def test_what_was_in_flight_is_unknown_and_never_goes_on_to_another_channel_that_it_may_have_been_on() -> None:
    change = back(flying(on_unknown="next_channel"))
    assert (change.delivery.state, change.delivery.next_at) == (State.UNKNOWN, TOMORROW)


def test_a_sent_message_does_not_fall_back_again_after_its_database_went_back() -> None:
    sent = after(flying(fallback_after=HOUR), Accepted("ref")).delivery
    change = back(sent)
    assert (change.delivery.state, change.delivery.next_at, change.outcomes) == (State.SENT, None, ())


def test_outcomes_after_a_restore_are_numbered_above_those_that_the_lost_time_announced() -> None:
    change = back(replace(a_delivery(), sequence=2))
    assert [outcome.sequence for outcome in change.outcomes] == [2 * NUMBERS_OF_AN_EPOCH + 1]
    assert back(replace(a_delivery(), next_at=SINCE + HOUR)).delivery.sequence == 2 * NUMBERS_OF_AN_EPOCH


@pytest.mark.parametrize(("asked", "not_before", "new"), [(-HOUR, -HOUR, False), (-HOUR, HOUR, True), (HOUR, HOUR, True)])
def test_a_request_read_again_is_unknown_unless_it_could_not_have_been_sent_before(
    asked: timedelta, not_before: timedelta, *, new: bool
) -> None:
    delivery = a_delivery(not_before=SINCE + not_before)
    change = asked_again(delivery, asked_at=SINCE + asked, epoch=2, since=SINCE, resolve_by=TOMORROW)
    assert change.delivery.state is (State.PENDING if new else State.UNKNOWN)


class Out(Enum):
    """What really became of an attempt."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class Word(StrEnum):
    """What may happen to a delivery."""

    MARK = "mark"
    ACCEPT = "accept"
    ARRIVE = "arrive"
    REFUSE = "refuse"
    NOT_SENT = "not sent"
    CUT = "cut"
    TIME = "time"
    RECEIPT = "receipt"
    LATE = "late"
    PAID = "paid"
    EXPIRE = "expire"
    WAIT = "wait"


_RESULTS: dict[Word, Result] = {
    Word.ACCEPT: Accepted("ref"),
    Word.ARRIVE: Accepted("ref", "delivered"),
    Word.REFUSE: REFUSED,
    Word.NOT_SENT: NotSent("away"),
    Word.CUT: Unknown("cut"),
}
_OUT = {Word.ACCEPT: Out.YES, Word.ARRIVE: Out.YES, Word.REFUSE: Out.NO, Word.NOT_SENT: Out.NO, Word.CUT: Out.MAYBE}
_NEWS = (Word.RECEIPT, Word.LATE)
_ANSWERS = (Word.ACCEPT, Word.ARRIVE, Word.REFUSE, Word.NOT_SENT, Word.CUT, Word.TIME, *_NEWS)
_MAY_COME: dict[State, tuple[Word, ...]] = {
    State.PENDING: (Word.MARK, Word.MARK, Word.MARK, Word.PAID, Word.EXPIRE, Word.WAIT, *_NEWS),
    State.IN_FLIGHT: _ANSWERS,
    State.UNKNOWN: _ANSWERS,
    State.UNRESOLVED: _ANSWERS,
    State.SENT: (Word.TIME, *_NEWS),
}
_VERDICTS: dict[Word, Verdict] = {Word.PAID: Suppress("paid"), Word.EXPIRE: Expire(), Word.WAIT: Wait("facts_behind")}


@dataclass
class Life:
    """A delivery and the truth about its attempts."""

    delivery: Delivery
    out: dict[str, Out] = field(default_factory=dict)
    last: str = ""

    def go(self, word: Word, channel: str) -> Change:
        one = self.delivery
        change = Change(one)
        if one.state is State.PENDING and word is Word.MARK and channel in set(one.request.channels) - set(one.spent):
            change = Change(marked(one, channel))
            assert self.out.get(channel, Out.NO) is Out.NO, "a message may not go out twice on one channel"
            self.out[channel], self.last = Out.MAYBE, channel
        elif one.state is State.PENDING and word in _VERDICTS:
            change = judged(one, _VERDICTS[word])
        elif one.state in {State.IN_FLIGHT, State.UNKNOWN, State.UNRESOLVED} and word in _RESULTS:
            change = self._answered(one, word)
        elif word is Word.TIME and one.next_at is not None:
            change = self._by_time(one)
        elif word in {Word.RECEIPT, Word.LATE} and self.out.get(channel, Out.NO) is not Out.NO:
            self.out[channel] = Out.YES
            news = (State.DELIVERED,) if word is Word.RECEIPT else (State.SENT,)
            change = heard(one, channel, news, provider="sandbox", loans=())
        self.delivery = change.delivery
        return change

    def _answered(self, one: Delivery, word: Word) -> Change:
        """The answer of the last attempt comes, whether or not the delivery stands where an earlier one left it."""
        if self.out[self.last] is not Out.YES and (one.state is State.IN_FLIGHT or word is not Word.CUT):
            self.out[self.last] = _OUT[word]
        if one.channel == self.last:
            return after(one, _RESULTS[word])
        news = {Word.ACCEPT: (State.SENT,), Word.ARRIVE: (State.SENT, State.DELIVERED)}.get(word, ())
        return heard(one, self.last, news, provider="sandbox", loans=())

    def _by_time(self, one: Delivery) -> Change:
        match one.state:
            case State.IN_FLIGHT:
                return unknown(one, "process_gone", now=MORNING, resolve_by=TOMORROW)
            case State.UNKNOWN:
                return unresolved(one)
            case State.SENT:
                return fallen_back(one, now=MORNING)
            case _:
                return Change(one)


def rank(delivery: Delivery) -> int:
    standings = [delivery.earlier] if delivery.earlier else []
    standings += [Standing(delivery.state, delivery.channel)] if delivery.state in MAY_BE_OUT else []
    return max((standing.rank for standing in standings), default=-1)


@settings(deadline=None, max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(ALL)), min_size=5, max_size=15),
    st.sampled_from([None, HOUR]),
    st.sampled_from(["hold", "next_channel"]),
    st.sampled_from([ALL, ALL[:2]]),
)
def test_whatever_is_heard_and_however_late_no_channel_is_used_twice_and_what_went_out_is_never_called_unsent(
    happenings: list[tuple[int, str]], fallback: timedelta | None, on_unknown: str, channels: tuple[str, ...]
) -> None:
    life = Life(a_delivery(channels=channels, fallback_after=fallback, on_unknown=on_unknown))
    for choice, channel in happenings:
        before, was = life.delivery, set(life.out.values())
        may_come = _MAY_COME.get(before.state, _NEWS)
        word = may_come[choice % len(may_come)]
        change = life.go(word, channel)
        now = change.delivery
        assert now.state is before.state or now.state in NEXT[before.state]
        assert now.sequence == before.sequence + len(change.outcomes)
        assert [outcome.sequence for outcome in change.outcomes] == list(range(before.sequence + 1, now.sequence + 1))
        assert rank(now) >= rank(before) or now.state is State.FAILED
        out = set(life.out.values())
        if Out.YES in out or (Out.MAYBE in out and Out.MAYBE in was):
            assert not {outcome.kind for outcome in change.outcomes} & {"expired", "suppressed", "failed"}
        if now.state in {State.EXPIRED, State.SUPPRESSED, State.CANCELLED, State.FAILED}:
            assert out <= {Out.NO}
        if now.state in {State.PENDING, State.UNKNOWN, State.IN_FLIGHT}:
            assert now.next_at is not None
