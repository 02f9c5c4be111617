"""What may have gone out: its deadline, its next channel, late news, and a database that went back in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.value import replace
from services.notifier.domain import delivery as deliveries
from services.notifier.domain.delivery import Change, Delivery, fallen_back, judged, settled, unknown, unresolved
from services.notifier.domain.receipts import News, Standing
from services.notifier.domain.restoring import (
    CLOCKS_APART,
    LOST,
    NUMBERS_OF_AN_EPOCH,
    TOUCHED,
    UNPROVEN,
    asked_again,
    restored,
    unproven,
)
from services.notifier.domain.results import NO_PERMIT, Accepted, NotSent, Refused, Result, Unknown
from services.notifier.domain.states import MAY_BE_OUT, NEXT, Reached, State
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


def heard(delivery: Delivery, channel: str, news: tuple[State, ...], *, provider: str, loans: tuple[str, ...]) -> Change:
    """Return the delivery after a receipt that is news to this extent: of the attempt nothing was known, or that it was sent."""
    standing = Standing.DELIVERED if State.DELIVERED in news else Standing.SENT
    before = Reached(State.UNKNOWN if State.SENT in news else State.SENT, channel)
    return deliveries.heard(delivery, News(channel, standing, (before,), provider, loans), now=MORNING)


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


@pytest.mark.parametrize("why", ["away", NO_PERMIT])
def test_what_was_given_up_as_unknown_and_never_started_has_failed(why: str) -> None:
    given_up = unknown(flying(), "process_gone", now=MORNING, resolve_by=TOMORROW).delivery
    for lost in (given_up, unresolved(given_up).delivery):
        assert after(lost, NotSent(why)).delivery.state is State.FAILED


@pytest.mark.parametrize("answer", [NotSent("away"), REFUSED])
def test_a_receipt_that_overtakes_its_answer_is_believed_whatever_the_answer_says(answer: Result) -> None:
    early = heard(flying(), "sms", (State.SENT,), provider="sandbox", loans=()).delivery
    change = after(early, answer)
    assert (early.state, change.delivery.state, change.outcomes) == (State.SENT, State.SENT, ())


@pytest.mark.parametrize(("receipt", "waits_until"), [(State.SENT, MORNING + HOUR), (State.DELIVERED, None)])
def test_a_receipt_that_overtakes_its_answer_lets_it_wait_for_its_arrival_like_the_answer(
    receipt: State, waits_until: datetime | None
) -> None:
    early = heard(flying(fallback_after=HOUR), "sms", (State.SENT, receipt), provider="sandbox", loans=()).delivery
    assert (early.state, early.next_at) == (receipt, waits_until)


def test_a_receipt_of_what_was_to_be_tried_again_there_keeps_it_from_going_out_twice() -> None:
    second = fallen_back(after(flying(fallback_after=HOUR), Accepted("ref")).delivery, now=MORNING + HOUR).delivery
    again = after(marked(second, "email"), NotSent("away")).delivery
    out = heard(again, "email", (State.SENT,), provider="sandbox", loans=())
    assert (out.delivery.state, out.delivery.next_at, kinds(out)) == (State.SENT, None, [("sent", "email")])


def test_a_second_message_of_which_nothing_is_known_leaves_the_first_as_sent() -> None:
    second = fallen_back(after(flying(fallback_after=HOUR, on_unknown="next_channel"), Accepted("ref")).delivery, now=MORNING + HOUR)
    change = after(marked(second.delivery, "email"), Unknown("cut"))
    assert (change.delivery.state, change.delivery.channel, kinds(change)) == (State.SENT, "sms", [("unknown", "email")])


def returned(delivery: Delivery, channel: str, *before: Reached) -> Change:
    """Return the delivery after a receipt that the message on a channel did not arrive."""
    return deliveries.heard(delivery, News(channel, Standing.FAILED, before, "sandbox", code="30003"), now=MORNING)


SENT_BY_SMS = Reached(State.SENT, "sms")
SENT_BY_MAIL = Reached(State.SENT, "email")


@pytest.mark.parametrize("answered", [True, False])
def test_a_message_that_comes_back_goes_on_at_once_where_a_missing_receipt_would_have_let_it(*, answered: bool) -> None:
    flight = flying(fallback_after=HOUR)
    start, before = (after(flight, Accepted("ref")).delivery, SENT_BY_SMS) if answered else (flight, Reached(State.UNKNOWN, "sms"))
    on = returned(start, "sms", before)
    assert (on.delivery.state, on.delivery.next_at, on.delivery.spent, on.outcomes) == (State.PENDING, MORNING, ("sms",), ())
    assert after(on.delivery, Accepted("ref")) == Change(on.delivery), "the answer of what came back says nothing more"
    second = after(marked(on.delivery, "email"), Accepted("ref")).delivery
    assert (second.state, second.channel, second.next_at) == (State.SENT, "email", None)


@pytest.mark.parametrize("changes", [{"fallback_after": None}, {"fallback_after": HOUR, "channels": ("sms",)}])
def test_a_message_that_comes_back_has_failed_where_nothing_lets_it_go_on(changes: dict[str, Any]) -> None:
    sent = after(flying(**changes), Accepted("ref")).delivery
    back_again = returned(sent, "sms", SENT_BY_SMS)
    assert (back_again.delivery.state, back_again.delivery.reason, kinds(back_again)) == (State.FAILED, "30003", [("failed", "sms")])


@pytest.mark.parametrize("ending", [Expire(), REFUSED, Suppress("consent")])
def test_what_was_announced_as_sent_and_came_back_ends_as_failed_when_no_other_channel_is_used(ending: Suppress | Expire | Refused) -> None:
    sent = after(flying(fallback_after=HOUR, channels=("sms", "email")), Accepted("ref")).delivery
    on = returned(sent, "sms", SENT_BY_SMS).delivery
    end = after(marked(on, "email"), ending) if isinstance(ending, Refused) else judged(on, ending)
    assert (end.delivery.state, [kind for kind, _ in kinds(end)]) == (State.FAILED, ["failed"])


def test_a_message_that_comes_back_after_the_second_went_out_leaves_the_second_to_decide() -> None:
    second = fallen_back(after(flying(fallback_after=HOUR), Accepted("ref")).delivery, now=MORNING + HOUR).delivery
    in_flight = returned(marked(second, "email"), "sms", SENT_BY_SMS, Reached(State.UNKNOWN, "email")).delivery
    assert (in_flight.state, in_flight.earlier) == (State.IN_FLIGHT, Reached(State.FAILED, "sms"))
    assert after(in_flight, REFUSED).delivery.state is State.PENDING, "push is left"
    sent = after(in_flight, Accepted("ref")).delivery
    assert (sent.state, sent.channel) == (State.SENT, "email")
    failed = returned(sent, "email", Reached(State.FAILED, "sms"), SENT_BY_MAIL)
    assert (failed.delivery.state, kinds(failed)) == (State.FAILED, [("failed", "email")])
    late = heard(failed.delivery, "sms", (State.DELIVERED,), provider="sandbox", loans=())
    assert (late.delivery.state, late.delivery.channel) == (State.DELIVERED, "sms")


def test_of_two_sent_messages_one_that_comes_back_leaves_the_other_standing() -> None:
    second = fallen_back(after(flying(fallback_after=HOUR), Accepted("ref")).delivery, now=MORNING + HOUR).delivery
    both = after(marked(second, "email"), Accepted("ref")).delivery
    assert (both.state, both.channel) == (State.SENT, "sms")
    one = returned(both, "sms", SENT_BY_SMS, SENT_BY_MAIL)
    assert (one.delivery.state, one.delivery.channel, one.outcomes) == (State.SENT, "email", ())
    none = returned(one.delivery, "email", Reached(State.FAILED, "sms"), SENT_BY_MAIL)
    assert (none.delivery.state, none.delivery.reason) == (State.FAILED, "30003")


def test_a_refusal_by_receipt_of_an_unknown_channel_that_was_left_lets_the_rest_end_as_failed() -> None:
    on = after(flying(on_unknown="next_channel", channels=("sms", "email")), Unknown("cut")).delivery
    told = returned(on, "sms", Reached(State.UNKNOWN, "sms")).delivery
    assert judged(told, Expire()).delivery.state is State.FAILED


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
    """Events that may happen to a delivery."""

    MARK = "mark"
    ACCEPT = "accept"
    ARRIVE = "arrive"
    REFUSE = "refuse"
    NOT_SENT = "not sent"
    CUT = "cut"
    TIME = "time"
    RECEIPT = "receipt"
    LATE = "late"
    RETURN = "return"
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
_NEWS = (Word.RECEIPT, Word.LATE, Word.RETURN)
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
    known: dict[str, State] = field(default_factory=dict)
    """By channel: the state of each attempt that may be out or has come back."""
    receipted: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    """Channels on which a message may have gone out, whatever became of it."""

    def go(self, word: Word, channel: str) -> Change:
        one = self.delivery
        change = Change(one)
        if one.state is State.PENDING and word is Word.MARK and channel in set(one.request.channels) - set(one.spent):
            change = Change(marked(one, channel))
            assert channel not in self.used, "a message may not go out twice on one channel"
            self.out[channel], self.last, self.known[channel] = Out.MAYBE, channel, State.UNKNOWN
            self.used.add(channel)
        elif one.state is State.PENDING and word in _VERDICTS:
            change = judged(one, _VERDICTS[word])
        elif one.state in {State.IN_FLIGHT, State.UNKNOWN, State.UNRESOLVED} and word in _RESULTS:
            change = self._answered(one, word)
        elif word is Word.TIME and one.next_at is not None:
            change = self._by_time(one)
        elif word in _NEWS and channel in self.known:
            change = self._told(one, channel, word)
        self.delivery = change.delivery
        return change

    def _told(self, one: Delivery, channel: str, word: Word) -> Change:
        """A receipt comes; how much of it is news depends on what was said about its attempt before."""
        said = {Word.RECEIPT: State.DELIVERED, Word.LATE: State.SENT, Word.RETURN: State.FAILED}[word]
        was = self.known.get(channel, State.UNKNOWN) if channel in self.receipted else State.UNKNOWN
        state = max(was, said, key=(State.UNKNOWN, State.SENT, State.FAILED, State.DELIVERED).index)
        standing = {State.SENT: Standing.SENT, State.FAILED: Standing.FAILED, State.DELIVERED: Standing.DELIVERED}[state]
        change = deliveries.heard(one, News(channel, standing, self._before(), "sandbox"), now=MORNING)
        self.known[channel], self.out[channel] = state, Out.NO if state is State.FAILED else Out.YES
        self.receipted.add(channel)
        return change

    def _before(self) -> tuple[Reached, ...]:
        return tuple(Reached(state, channel) for channel, state in sorted(self.known.items()))

    def _answered(self, one: Delivery, word: Word) -> Change:
        """The answer to the last attempt comes, even if an earlier one has already moved the delivery."""
        same, before = one.channel == self.last, self._before()
        if self.last not in self.receipted and (one.state is State.IN_FLIGHT or word is not Word.CUT):
            self._note(word)
        if same:
            return after(one, _RESULTS[word])
        standing = {Word.ACCEPT: Standing.ACCEPTED, Word.ARRIVE: Standing.DELIVERED}.get(word)
        return deliveries.heard(one, News(self.last, standing, before, "sandbox"), now=MORNING) if standing is not None else Change(one)

    def _note(self, word: Word) -> None:
        self.out[self.last] = _OUT[word]
        state = {Word.ACCEPT: State.SENT, Word.ARRIVE: State.DELIVERED, Word.CUT: State.UNKNOWN}.get(word)
        if word is Word.ARRIVE:
            self.receipted.add(self.last)
        if state is not None:
            self.known[self.last] = state
        else:
            self.known.pop(self.last, None)
        if word is Word.NOT_SENT:
            self.used.discard(self.last)

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
    standings += [Reached(delivery.state, delivery.channel)] if delivery.state in MAY_BE_OUT else []
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
        assert rank(now) >= rank(before) or now.state is State.FAILED or word is Word.RETURN
        out = set(life.out.values())
        if Out.YES in out or (Out.MAYBE in out and Out.MAYBE in was):
            assert not {outcome.kind for outcome in change.outcomes} & {"expired", "suppressed", "failed"}
        if now.state in {State.EXPIRED, State.SUPPRESSED, State.CANCELLED, State.FAILED}:
            assert out <= {Out.NO}
        if now.state in {State.EXPIRED, State.SUPPRESSED}:
            assert not life.receipted, "what went out and came back has failed"
        if State.DELIVERED in life.known.values() and now.state is not State.IN_FLIGHT:
            assert now.state is State.DELIVERED
        if now.state in {State.PENDING, State.UNKNOWN, State.IN_FLIGHT}:
            assert now.next_at is not None
