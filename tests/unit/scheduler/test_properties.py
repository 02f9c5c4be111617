"""Properties of every case at every moment."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.value import replace
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import PENDING, Case, ContactState, Debt, Released, State, follow, reminded_of
from services.scheduler.domain.days import reaching
from services.scheduler.domain.planner import ContactDue, plan
from services.scheduler.domain.promises import Promise
from services.scheduler.domain.stops import Ending, Hold, Stop
from tests.unit.scheduler.build import DUE, case, coming, debt, live, local

ZONES = ("Asia/Shanghai", "America/New_York", "Europe/Berlin", "Africa/Cairo", "Pacific/Chatham", "Pacific/Apia", "America/Sao_Paulo")
MOMENTS = st.integers(-10 * 24 * 60, 40 * 24 * 60).map(lambda minutes: local(0, 8) + timedelta(minutes=minutes))
DATES = st.integers(-40, 10).map(lambda days: DUE + timedelta(days=days))
PAUSES = st.lists(st.tuples(DATES, st.one_of(st.none(), DATES)), max_size=2).map(
    lambda spans: tuple((begin, end) for begin, end in spans if end is None or begin < end)
)

calmly = settings(deadline=None)
"""A busy machine must not cause failures."""


@st.composite
def debts(draw: st.DrawFn) -> Debt:
    zone = draw(st.sampled_from(ZONES))
    loan_id = draw(st.sampled_from(("L1", "L2", "L3")))
    doubted, active = draw(st.booleans()), draw(st.sampled_from((True, True, True, False)))
    resting = draw(st.one_of(st.none(), st.none(), MOMENTS))
    if draw(st.sampled_from((True, True, False))):
        return debt(
            loan_id, due_on=draw(DATES), zone=zone, doubted=doubted and draw(st.booleans()), active=active, resting_until=resting,
            grace_days=draw(st.integers(0, 5)), pauses=draw(PAUSES),
        )  # fmt: skip
    return coming(loan_id, next_due_on=draw(DATES), zone=zone, doubted=doubted, active=active, resting_until=resting)


STOPS = st.builds(
    Stop, st.sampled_from(("s1", "s2")), st.sampled_from(("deceased", "hardship", "opt_out")), MOMENTS, st.one_of(st.none(), MOMENTS)
)
SOURCES = {"m-1": "complaint", "m-2": "dispute", None: None}
HOLDS = st.builds(
    lambda number, kind, begin, end, loan, source, event: Stop(
        f"h{number}", kind, begin, None if source or event else end, loan, None,
        Hold("c1", None if source else event, source, SOURCES[source]),
    ),
    st.integers(1, 3), st.sampled_from(("manual", "dispute", "complaint", "moratorium")), MOMENTS, st.one_of(st.none(), MOMENTS),
    st.one_of(st.none(), st.sampled_from(("L1", "L2"))), st.sampled_from((None, None, "m-1", "m-2")),
    st.sampled_from((None, None, Ending.CURED, Ending.REPLIED)),
)  # fmt: skip


@st.composite
def promised(draw: st.DrawFn) -> tuple[Promise, Stop]:
    """A promise and its hold."""
    made_at, loan, amount = draw(MOMENTS), draw(st.sampled_from(("L1", "L2"))), draw(st.integers(1, 20_000))
    until = made_at + timedelta(days=draw(st.integers(1, 9)))
    name = draw(st.sampled_from(("p1", "p2")))
    promise = Promise(name, amount, until.date(), until, made_at, {loan: 0}, 0)
    return promise, Stop(f"hold-{name}", "promise", made_at, until, loan, None, Hold("c1", source=name))


def _case(ds: list[Debt], stops: list[Stop], held: list[Stop], made: list[tuple[Promise, Stop]]) -> Case:
    promises = {promise.promise_id: (promise, stop) for promise, stop in made}
    found = {stop.status_id: stop for stop in (*stops, *held, *(stop for _, stop in promises.values()))}
    return case(
        *{d.loan_id: d for d in ds}.values(), stops=tuple(found.values()), promises=tuple(promise for promise, _ in promises.values())
    )  # fmt: skip


CASES = st.builds(
    _case, st.lists(debts(), max_size=3), st.lists(STOPS, max_size=1), st.lists(HOLDS, max_size=2), st.lists(promised(), max_size=2)
)
ENDINGS = st.sampled_from(list(ContactState))


def lives(one: Case, moments: list[datetime], endings: list[ContactState]) -> list[tuple[Case, Case, datetime]]:
    """The case before and after each of these moments; after each one, pending contacts come to some end."""
    seen = []
    for now, ending in zip(sorted(moments), endings, strict=False):
        before, _ = follow(one, BUILT_IN, now)
        after, _ = live(one, now)
        seen.append((before, after, now))
        ended = (replace(c, state=ending) if c.state is ContactState.REQUESTED else c for c in after.contacts)
        one = replace(after, contacts=tuple(ended))
    return seen


@calmly
@given(one=CASES, moments=st.lists(MOMENTS, max_size=12), endings=st.lists(ENDINGS, min_size=12, max_size=12))
def test_no_step_is_said_twice_in_a_spell_unless_it_expired(one: Case, moments: list[datetime], endings: list[ContactState]) -> None:
    for _, after, _ in lives(one, moments, endings):
        ids = [contact.task_id for contact in after.contacts]
        assert len(ids) == len(set(ids))
        held = Counter((c.spell, c.step, c.about) for c in after.contacts if c.state is not ContactState.EXPIRED)
        assert all(number == 1 for number in held.values())


@calmly
@given(one=CASES, moments=st.lists(MOMENTS, max_size=8), endings=st.lists(ENDINGS, min_size=8, max_size=8))
def test_nobody_is_asked_for_what_is_not_owed_or_in_doubt_or_while_a_stop_stands(
    one: Case, moments: list[datetime], endings: list[ContactState]
) -> None:
    for before, _, now in lives(one, moments, endings):
        planned = plan(before, BUILT_IN, now)
        for due in planned.due:
            if not isinstance(due, ContactDue):
                continue
            assert before.stop(now) is None
            assert due.debts
            for named in due.debts:
                assert named.askable(now)
                assert named.active
                assert named.owed if due.about is None else named.next_due > 0


IN_THE_WINDOW = st.builds(lambda day, minute: local(day, 10, minute), st.integers(1, 30), st.integers(0, 29))


@calmly
@given(held=st.lists(HOLDS, max_size=2), made=st.lists(promised(), max_size=2), now=IN_THE_WINDOW, asked=st.booleans())
def test_no_debt_is_named_for_which_a_payment_is_promised_or_on_which_a_hold_lies(
    held: list[Stop], made: list[tuple[Promise, Stop]], now: datetime, *, asked: bool
) -> None:
    one = _case([debt("L1"), debt("L2")], [], held, made)
    if asked:
        calm, _ = live(replace(one, stops=(), promises=()), now - timedelta(minutes=1))
        one = replace(calm, stops=one.stops, promises=one.promises)
    before, _ = follow(one, BUILT_IN, now)
    promised_for = {loan for promise in before.promises if promise.open and promise.made_at <= now for loan in promise.since}
    resting = {stop.loan_id for stop in before.stops if stop.stands(now)} | promised_for
    free = {"L1", "L2"} - resting if None not in resting else set()
    planned = [due for due in plan(before, BUILT_IN, now).due if isinstance(due, ContactDue)]
    assert all({named.loan_id for named in due.debts} == free for due in planned)
    assert free or not planned
    assert free or not [contact for contact in before.contacts if contact.state in PENDING]


@calmly
@given(one=CASES, moments=st.lists(MOMENTS, max_size=8), endings=st.lists(ENDINGS, min_size=8, max_size=8))
def test_what_a_borrower_brought_up_always_has_its_person_until_it_is_answered(
    one: Case, moments: list[datetime], endings: list[ContactState]
) -> None:
    for _, after, _now in lives(one, moments, endings):
        open_keys = {errand.key for errand in after.errands if errand.done_at is None}
        assert {f"stop:{stop.hold.source}" for stop in after.stops if stop.hold and stop.hold.matter} <= open_keys


@calmly
@given(one=CASES, moments=st.lists(MOMENTS, min_size=1, max_size=6))
def test_a_hold_is_released_once_and_not_before_its_time(one: Case, moments: list[datetime]) -> None:
    released: list[str] = []
    for now in sorted(moments):
        one, changes = follow(one, BUILT_IN, now)
        for change in changes:
            if isinstance(change, Released):
                hold = change.stop.hold
                assert hold is not None
                assert change.stop.over(now) or hold.ends_with is not None or hold.source is not None
                released.append(change.stop.status_id)
        assert not any(stop.hold is not None and stop.over(now) for stop in one.stops)
    assert len(released) == len(set(released))


@calmly
@given(one=CASES, now=MOMENTS)
def test_at_most_one_contact_is_due_and_it_is_the_latest_whose_day_has_come(one: Case, now: datetime) -> None:
    before, _ = follow(one, BUILT_IN, now)
    contacts = [due for due in plan(before, BUILT_IN, now).due if isinstance(due, ContactDue)]
    assert len(contacts) <= 1
    for due in contacts:
        later = [step for step in BUILT_IN.messages if step.day > due.step.day >= 0]
        begun = [(d.begins(step), step) for step in later for d in due.debts]
        assert all(moment is None or moment > now for moment, _ in begun)
        assert due.expires_at > now


@calmly
@given(one=CASES, moments=st.lists(MOMENTS, min_size=1, max_size=8), endings=st.lists(ENDINGS, min_size=8, max_size=8))
def test_nobody_is_forgotten(one: Case, moments: list[datetime], endings: list[ContactState]) -> None:
    for _, after, now in lives(one, moments, endings):
        planned = plan(after, BUILT_IN, now)
        if after.state is State.OPEN:
            assert planned.next_at is not None or planned.reason.event is not None or planned.reason.errand is not None
        assert planned.reason.ends
        assert planned.next_at is None or planned.next_at > now
        if planned.upcoming is not None and not planned.due:
            assert planned.upcoming.at > now


@calmly
@given(one=CASES, moments=st.lists(MOMENTS, min_size=2, max_size=6))
def test_planning_later_gives_the_same_step_or_a_later_one(one: Case, moments: list[datetime]) -> None:
    calm = replace(one, stops=(), debts=tuple(replace(d, doubted=False, resting_until=None) for d in one.debts))
    order = {step.id: place for place, step in enumerate(BUILT_IN.steps)}
    reached = -1
    for now in sorted(moments):
        before, _ = follow(calm, BUILT_IN, now)
        upcoming = plan(before, BUILT_IN, now)
        due = [d.step.id for d in upcoming.due if isinstance(d, ContactDue)]
        planned = due[0] if due else upcoming.upcoming.step if upcoming.upcoming else None
        if before.owed and planned is not None:
            assert order[planned] >= reached
            reached = order[planned]


@calmly
@given(one=CASES, now=MOMENTS)
def test_once_what_is_due_is_done_nothing_is_due_any_more(one: Case, now: datetime) -> None:
    after, _ = live(one, now)
    _, again = live(after, now)
    assert again.due == ()


@calmly
@given(one=CASES, start=MOMENTS, share=st.floats(0.001, 0.999))
def test_whoever_looks_only_when_the_plan_says_so_misses_nothing(one: Case, start: datetime, share: float) -> None:
    now = start
    for _ in range(12):
        one, planned = live(one, now)
        until = planned.next_at or now + timedelta(days=60)
        between = now + (until - now) * share
        followed, changes = follow(one, BUILT_IN, between)
        assert changes == ()
        assert plan(followed, BUILT_IN, between).due == () or reminded_of(followed, BUILT_IN, between) != reminded_of(one, BUILT_IN, now)
        if planned.next_at is None:
            return
        now = planned.next_at


@calmly
@given(pauses=PAUSES, since=DATES, days=st.integers(0, 30))
def test_so_many_unpaused_days_lie_before_the_day_that_is_reached(
    pauses: tuple[tuple[date, date | None], ...], since: date, days: int
) -> None:
    on = reaching(pauses, since, days)
    if on is None:
        assert any(end is None for _, end in pauses)
        return
    counted = [since + timedelta(days=n) for n in range((on - since).days)]
    assert sum(not any(begin <= day and (end is None or day < end) for begin, end in pauses) for day in counted) == days
