"""Simulates a borrower's life under a policy, event by event, with the live system's planner and gate."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from itertools import count
from typing import assert_never
from zoneinfo import ZoneInfo

from libs.common.value import replace
from libs.compliance import Channel, Prior
from services.scheduler.domain.advancing import Followed, followed
from services.scheduler.domain.as_written import come_due, is_about, named, of_this_spell, settled, task_id_of, with_debt
from services.scheduler.domain.case import (
    PENDING,
    PROFILE_UNKNOWN,
    Cancelled,
    Closed,
    Contact,
    ContactState,
    Cured,
    Debt,
    Opened,
    Stage,
)
from services.scheduler.domain.days import begins
from services.scheduler.domain.lawful import BY_US, Answer, Later, May, Never, NoWay, Wish, ask, dunned
from services.scheduler.domain.planner import ContactDue, ErrandDue, FlagDue, having, reminder_at
from services.scheduler.domain.policy import Policy, Send
from services.scheduler.domain.subjects import ORDER, Action, Begun, ComeDue, Complete, Hear, Look, Pay, Rule, Subject, Terms, Try
from services.scheduler.domain.tally import Tally
from services.scheduler.domain.tracks import Track, Wanted, begun, housed, regrouped

MOST_EVENTS = 20_000
"""More events in one life mean an endless loop."""
NOON = timedelta(hours=12)
CALLED_OFF = "cancelled"
_ONE_DAY = timedelta(days=1)


def simulate(subject: Subject, rule: Rule, terms: Terms, tally: Tally) -> None:
    """Simulate one borrower and count what happens; if a rule fails, only this borrower is set aside."""
    tally.count("total", "borrowers")
    try:
        _Life(subject, rule, terms, tally).run()
    except Exception as error:  # noqa: BLE001  # as the ticker does, park this one alone whatever its rules raise
        tally.count("in_doubt", type(error).__name__)


class _Life:
    """One borrower, with all cases on one clock."""

    def __init__(self, subject: Subject, rule: Rule, terms: Terms, tally: Tally) -> None:
        self._subject, self._rule, self._terms, self._tally = regrouped(subject, rule.choices), rule, terms, tally
        self._heap: list[tuple[datetime, int, int, Action]] = []
        self._numbers = count()
        self._prior = list(subject.prior)
        self._dunned = {(-1, str(n)): at for n, at in enumerate(dunned(subject.prior))}
        self._tracks = begun(self._subject, rule)

    def run(self) -> None:
        """Run the clock."""
        self._remember()
        for i, track in enumerate([*self._tracks]):
            self._begin(i, track.begun)
        for done in count():
            if not self._heap or self._heap[0][0] >= self._terms.to:
                break
            if done > MOST_EVENTS:
                raise RuntimeError("a simulated life did not end")
            at, _, _, action = heapq.heappop(self._heap)
            self._do(action, at)
        for track in self._tracks:
            self._end(track)

    def _push(self, at: datetime, action: Action) -> None:
        heapq.heappush(self._heap, (max(at, self._terms.from_at), ORDER[type(action)], next(self._numbers), action))

    def _remember(self) -> None:
        """Bring the cases of a past up to date with their facts at the start time."""
        for told in self._subject.told:
            if told.at >= self._terms.from_at:
                self._push(told.at, Hear(told.case, told.debt))
                continue
            track = self._tracks[told.case]
            track.case = with_debt(track.case, told.debt)
            if (new := self._followed(track, told.at)) is not None:
                track.case, track.policy = new.case, new.policy
        if self._subject.told:
            for track in self._tracks:
                track.case = of_this_spell(track.case, track.begun.given)

    def _begin(self, i: int, found: Begun) -> None:
        track, start = self._tracks[i], self._terms.from_at
        if found.in_doubt is not None:
            self._tally.count("in_doubt", "parked")
            track.case = replace(track.case, debts=())
            return
        if not self._subject.told:
            track.case, track.policy = self._rule.at_first(track.case, found.policy)
        for contact in [c for c in track.case.contacts if c.state in PENDING]:
            self._take_up(i, contact, track.policy if self._subject.told else self._rule.version(found.policy))
        self._tally.count("total", "cases", by=int(track.case.spell > 0))
        if track.case.spell or track.case.owed:
            self._look_at(i, start if found.looks_at is None else found.looks_at)
        for debt in track.case.debts:
            self._await(i, debt, start)
            self._let_come_due(i, debt)
        if track.case.stage is Stage.OVERDUE:
            self._let_cure(i, start)

    def _take_up(self, i: int, contact: Contact, policy: Policy | None) -> None:
        """Continue a contact that is under way; if its step is gone, it can only expire."""
        track = self._tracks[i]
        step = next((s for s in policy.steps if s.id == contact.step), None) if policy else None
        if step is None or not isinstance(step.action, Send):
            self._push(contact.expires_at, Try(i, contact.task_id))
            return
        track.wanted[contact.task_id] = Wanted(step.action, frozenset(debt.loan_id for debt in track.case.debts))
        self._push(min(contact.until or contact.requested_at, contact.expires_at), Try(i, contact.task_id))

    def _await(self, i: int, debt: Debt, now: datetime) -> None:
        """Wake the case when a reminder is due, as the debt's row does."""
        if not debt.owed and (at := reminder_at(debt, self._rule.choices.of((debt,), self._subject.borrower_id), now)) is not None:
            self._push(at, Look(i, woken=True))

    def _let_come_due(self, i: int, debt: Debt) -> None:
        behaviour = self._terms.behaviour
        if behaviour is None or debt.next_due_on is None or debt.next_due <= 0 or not debt.active:
            return
        if behaviour.pays_due(debt.loan_id, debt.next_due_on):
            at = begins(debt.next_due_on, debt.timezone) + NOON
            self._push(at, Pay(i, "when_due", 0, about=debt.next_due_on))
        else:
            self._push(begins(debt.next_due_on + _ONE_DAY, debt.timezone), ComeDue(i, debt.loan_id, debt.next_due_on))

    def _let_cure(self, i: int, now: datetime) -> None:
        """Draw when this spell cures by itself."""
        case = self._tracks[i].case
        first = min((debt for debt in case.owed if debt.past_due_from), key=lambda d: (d.past_due_from, d.loan_id), default=None)
        if self._terms.behaviour is None or first is None or first.past_due_from is None:
            return
        today = now.astimezone(ZoneInfo(first.timezone)).date()
        day = self._terms.behaviour.cured_on((today - first.past_due_from).days, case.case_id, case.spell)
        if day is not None:
            self._push(begins(first.past_due_from + timedelta(days=day), first.timezone) + NOON, Pay(i, "by_itself", case.spell))

    def _do(self, action: Action, at: datetime) -> None:
        track = self._tracks[action.case]
        match action:
            case Look(i, woken):
                if woken or track.next_at == at:
                    self._advance(i, at)
            case Try(i, task_id):
                self._try(i, task_id, at)
            case Hear(i, debt):
                self._hear(i, debt, at)
            case Pay():
                self._pay(action, at)
            case ComeDue(i, loan_id, on):
                due = next((d for d in track.case.debts if d.loan_id == loan_id and d.next_due_on == on), None)
                if due is not None:
                    self._hear(i, come_due(due), at)
            case Complete(i, task_id):
                done = tuple(replace(e, done_at=at) if e.task_id == task_id else e for e in track.case.errands)
                track.case = replace(track.case, errands=done)
                self._advance(i, at)
            case _:
                assert_never(action)

    def _look_at(self, i: int, at: datetime | None) -> None:
        self._tracks[i].next_at = None if at is None else max(at, self._terms.from_at)
        if at is not None:
            self._push(at, Look(i))

    def _followed(self, track: Track, now: datetime) -> Followed | None:
        return followed(track.case, track.policy, self._rule.choices, now)

    def _advance(self, i: int, now: datetime) -> None:
        """Do what is due, as the ticker does."""
        track = self._tracks[i]
        if (new := self._followed(track, now)) is None:
            raise LookupError("a policy version cannot be read")
        planned = new.planned(now)
        track.case, track.policy, track.plan = named(having(new.case, list(planned.due), now)), new.policy, planned
        self._changed(i, new.changes, now)
        self._look_at(i, planned.next_at)
        for due in planned.due:
            self._due(i, due, now)

    def _hear(self, i: int, debt: Debt, now: datetime) -> None:
        """Take in a fact as the handler does: apply it at once, plan after the settling time."""
        if not self._subject.told:
            i = housed(self._tracks, i, debt, self._rule.choices)
        track = self._tracks[i]
        track.case = with_debt(track.case, debt)
        if (new := self._followed(track, now)) is None:
            raise LookupError("a policy version cannot be read")
        track.case, track.policy, track.rests_until = new.case, new.policy, now + self._terms.settle
        self._changed(i, new.changes, now)
        if track.case.spell:
            self._look_at(i, track.rests_until)
        self._await(i, debt, track.rests_until)
        for contact in track.case.contacts:
            if contact.state in PENDING:
                self._push(now, Try(i, contact.task_id))

    def _changed(self, i: int, changes: tuple[object, ...], now: datetime) -> None:
        for change in changes:
            match change:
                case Opened():
                    self._tally.count("total", "opened")
                    self._let_cure(i, now)
                case Cured():
                    self._tally.count("total", "cured")
                case Closed():
                    self._tally.count("total", "closed")
                case Cancelled(contact, reason):
                    self._tally.count("step", contact.step, "cancelled")
                    self._tally.count("cancelled", contact.step, reason)
                    self._call_off(i, contact, now)
                case _:
                    self._tally.count("other", type(change).__name__.lower())

    def _call_off(self, i: int, contact: Contact, now: datetime) -> None:
        """Report, as the notifier does, that a cancelled contact did not go out: its case is planned again."""
        self._write(i, replace(contact, state=ContactState.SUPPRESSED, reason=CALLED_OFF, until=None))
        rests_until = self._tracks[i].rests_until
        self._push(now if rests_until is None else max(now, rests_until), Look(i, woken=True))

    def _due(self, i: int, due: object, now: datetime) -> None:
        """Count what is due; of kinds not handled here, only that they occurred."""
        track = self._tracks[i]
        match due:
            case ContactDue(step, about, occurrence, debts, _) if isinstance(step.action, Send):
                self._tally.count("step", step.id, "asked")
                task_id = task_id_of(track.case.spell, step.id, about, occurrence)
                track.wanted[task_id] = Wanted(step.action, frozenset(debt.loan_id for debt in debts))
                self._push(now, Try(i, task_id))
            case ErrandDue(key, occurrence, work):
                self._tally.count("task", work.queue, work.kind)
                if self._terms.behaviour is not None and self._terms.behaviour.tasks_take is not None:
                    self._push(now + self._terms.behaviour.tasks_take, Complete(i, f"{key}/{occurrence}"))
            case FlagDue(_, name):
                self._tally.count("other", f"flag {name}")
            case _:
                self._tally.count("other", type(due).__name__.lower())

    def _try(self, i: int, task_id: str, now: datetime) -> None:
        """Put a contact to the gate and record the result, as the notifier does."""
        track = self._tracks[i]
        contact = next((c for c in track.case.contacts if c.task_id == task_id and c.state in PENDING), None)
        if contact is None:
            return
        if now >= contact.expires_at:
            self._outcome(i, contact, ContactState.EXPIRED, contact.reason, now=now)
        elif (wanted := track.wanted.get(task_id)) is None:
            return
        elif not self._subject.reach.known:
            self._defer(i, contact, PROFILE_UNKNOWN, contact.expires_at, now=now)
        else:
            self._at_the_gate(i, contact, wanted, now)

    def _at_the_gate(self, i: int, contact: Contact, wanted: Wanted, now: datetime) -> None:
        case = self._tracks[i].case
        about = [debt for debt in case.debts if debt.loan_id in wanted.loans and is_about(debt, contact)]
        debts = tuple(debt for debt in about if debt.askable(now))
        if not debts:
            ends = [debt.resting_until for debt in about if debt.resting_until is not None and not debt.doubted]
            why = "in_doubt" if any(debt.doubted for debt in about) else "payment_pending"
            self._defer(i, contact, why, min(ends, default=contact.expires_at) if why != "in_doubt" else contact.expires_at, now=now)
            return
        others = tuple(at for which, at in self._dunned.items() if which != (i, contact.task_id))
        wish = Wish(wanted.send, debts, self._subject.reach, case.stops, tuple(self._prior), wanted.spent, others, self._terms.house)
        answer = ask(wish, self._terms.packs, now)
        self._refusals(answer)
        match answer:
            case May(channel, lookup, _):
                self._say(i, contact, debts, (channel, lookup), now=now)
            case Later(until, reason, _):
                self._defer(i, contact, reason, until, now=now)
            case Never(reason, _):
                self._outcome(i, contact, ContactState.SUPPRESSED, reason, now=now)
            case NoWay(reason):
                self._outcome(i, contact, ContactState.FAILED, "undelivered" if wanted.spent else reason, now=now)
            case _:
                assert_never(answer)

    def _refusals(self, answer: Answer) -> None:
        for denied in () if isinstance(answer, NoWay) else answer.denied:
            for rule in denied.rules:
                self._tally.count("refusal", rule.rule, rule.nature.value, rule.cite)

    def _say(self, i: int, contact: Contact, debts: tuple[Debt, ...], way: tuple[str, str], *, now: datetime) -> None:
        """Send it; if it does not arrive, try the next channel when the step waits for receipts, else it has failed."""
        track, (channel, lookup), behaviour = self._tracks[i], way, self._terms.behaviour
        wanted, which = track.wanted[contact.task_id], (track.case.case_id, contact.task_id)
        loans = tuple(debt.loan_id for debt in debts)
        arrives = behaviour is None or behaviour.reaches(channel, *which)
        result = "delivered" if arrives else "undelivered"
        self._prior.append(Prior(now, Channel(channel), result, loans, BY_US, to=lookup, kind=wanted.send.purpose))
        if wanted.send.purpose == "dunning":
            self._dunned[i, contact.task_id] = now
        self._tally.count("contact", now.astimezone(ZoneInfo(debts[0].timezone)).date().isoformat(), channel)
        self._tally.count("sent", contact.step, wanted.send.template, channel)
        if arrives:
            self._outcome(i, contact, ContactState.DONE, None, now=now)
            if behaviour is not None and (after := behaviour.pays_after(*which)) is not None:
                self._push(now + after, Pay(i, "after_contact", track.case.spell, contact.step, contact.about))
            return
        wanted.spent |= {channel}
        if wanted.send.fallback_after is None:
            self._outcome(i, contact, ContactState.FAILED, "undelivered", now=now)
        else:
            self._push(now, Try(i, contact.task_id))

    def _defer(self, i: int, contact: Contact, reason: str, until: datetime, *, now: datetime) -> None:
        """Ask again then, or let it expire; the plan changes only if the borrower has no profile."""
        self._tally.count("step", contact.step, "deferred")
        self._tally.count("deferred", contact.step, reason)
        self._tracks[i].word = reason
        new = replace(contact, state=ContactState.DEFERRED, reason=reason, until=until)
        self._write(i, new)
        self._push(min(until, contact.expires_at), Try(i, contact.task_id))
        if reason == PROFILE_UNKNOWN:
            self._advance(i, now)

    def _outcome(self, i: int, contact: Contact, state: ContactState, reason: str | None, *, now: datetime) -> None:
        track = self._tracks[i]
        self._write(i, replace(contact, state=state, reason=reason, until=None))
        track.wanted.pop(contact.task_id, None)
        self._tally.count("step", contact.step, state.value)
        if state is not ContactState.DONE:
            track.word = reason or state.value
            if state is not ContactState.EXPIRED:
                self._tally.count(state.value, contact.step, reason or "")
        if state is not ContactState.DONE or self._may_change(track):
            self._advance(i, now)

    def _may_change(self, track: Track) -> bool:
        """Return whether a contact that went out may change the plan: through a condition, or because a new version waits for it to end."""
        policy = track.policy
        if policy is None or any(step.when is not None for step in policy.steps):
            return True
        latest = self._rule.choices.active.get(policy.name)
        return latest is not None and latest.policy.version != policy.version

    def _write(self, i: int, contact: Contact) -> None:
        track = self._tracks[i]
        contacts = tuple(contact if one.task_id == contact.task_id else one for one in track.case.contacts)
        track.case = replace(track.case, contacts=contacts)

    def _pay(self, pay: Pay, now: datetime) -> None:
        case = self._tracks[pay.case].case
        if pay.about is not None:
            paid = [(debt, debt.next_due) for debt in case.debts if debt.next_due_on == pay.about and debt.next_due > 0]
        else:
            paid = [(debt, debt.overdue) for debt in case.owed] if case.spell == pay.spell else []
        if not paid:
            return
        self._tally.count("paid", case.currency, pay.because, by=len(paid))
        self._tally.count("paid_amount", case.currency, pay.because, by=sum(amount for _, amount in paid))
        if pay.step is not None:
            self._tally.count("step", pay.step, "paid_after")
        for debt, _ in paid:
            self._hear(pay.case, settled(debt) if pay.about is None else replace(debt, next_due=0, next_due_on=None), now)

    def _end(self, track: Track) -> None:
        """Count who is forgotten at the end, in the same terms as coverage."""
        case, plan = track.case, track.plan
        if not case.owed or case.stage is not Stage.OVERDUE or plan is None:
            return
        reason = plan.reason.kind
        self._tally.count("at_end", reason)
        open_task = any(errand.done_at is None for errand in case.errands)
        if not (plan.upcoming or plan.reason.ends or open_task):
            self._tally.count("uncontacted", reason)
        if not any(c.state is ContactState.DONE and c.about is None and c.spell == case.spell for c in case.contacts):
            self._tally.count("never_reached", track.word or reason)
