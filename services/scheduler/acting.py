"""Turns what the rules decide into rows, timeline entries and messages, for the cases a transaction holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, assert_never

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import ids
from libs.common.bus.ports import Message
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.case_events import CaseEvent
from libs.common.contracts.catalogue import CASES, TASKS
from libs.common.contracts.contact_tasks import ContactCancelled, ContactRequested, DebtRef, HoldEnded, PolicyRef
from libs.common.outbox import Outbox
from libs.common.value import replace
from services.scheduler.domain.advancing import followed
from services.scheduler.domain.builtin import DOUBT_WORK
from services.scheduler.domain.case import (
    Cancelled,
    Case,
    Change,
    Closed,
    ContactState,
    Cured,
    Errand,
    Opened,
    Released,
    Reopened,
    Settled,
    follow,
)
from services.scheduler.domain.corrected import DebtSeen
from services.scheduler.domain.dealing import Offer, OfferState, Terms
from services.scheduler.domain.escalating import EmitDue, HandOverDue, OfferDue, having_done
from services.scheduler.domain.planner import ContactDue, Due, ErrandDue, FlagDue, plan
from services.scheduler.domain.policy import LEGAL_QUEUE, Policy, Send, Step
from services.scheduler.domain.promises import Promise, PromiseState
from services.scheduler.metrics import Meters
from services.scheduler.outgoing import Outgoing, entry
from services.scheduler.parking import ParkingLimit
from services.scheduler.pausing import Release, Telling, clocks_resumed
from services.scheduler.policies.writing import terms_written
from services.scheduler.rulebook import Rulebook, Rules
from services.scheduler.store import cases, corrections, dealings, errands, holds, promises, story, trials
from services.scheduler.store.held import Held

DOUBT_KEY = "in_doubt"
_ABOUT = ("answer_id", "offer_id", "task_id", "hold_id", "promise_id", "matter_id", "contact_id", "step")
"""What an event is about: the first of these that its detail has, else its moment."""
_encode = msgspec.json.Encoder(order="deterministic").encode


def task_id_of(case: Case, due: ContactDue) -> str:
    """Return the stable id of this contact; for a reminder it includes the due date."""
    step = due.step.id if due.about is None else f"{due.step.id}@{due.about.isoformat()}"
    return ids.derived("t", case.tenant, case.case_id, case.spell, step, due.occurrence)


@dataclass(frozen=True, slots=True)
class Made:
    """Which offer is made, by whom, and by which step."""

    offer_id: str
    state: OfferState
    by: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """Applies the rules to held cases."""

    writer: Writer
    outbox: Outbox
    meters: Meters
    parking: ParkingLimit
    rulebook: Rulebook = field(default_factory=Rulebook)
    tenants: tuple[str, ...] = ("default",)
    """The first tenant's topics have no tenant prefix."""

    def follow(self, held: Held, rules: Rules, now: datetime) -> tuple[Held, Outgoing]:
        """Bring a case up to date with its facts; a rule that fails parks the case."""
        out = Outgoing()
        try:
            return self._followed(held, rules, held.moment(now), out=out)[0], out
        except Exception as error:  # noqa: BLE001  # whatever a rule raises parks this case alone
            return self._parked(held, error, now)

    def advance(self, held: Held, rules: Rules, now: datetime) -> tuple[Held, Outgoing]:
        """Do what is due for a case; a rule that fails parks the case."""
        out, at = Outgoing(), held.moment(now)
        try:
            followed, policy = self._followed(held, rules, at, out=out)
            return self._planned(followed, policy, at, out=out), out
        except Exception as error:  # noqa: BLE001  # as above
            return self._parked(held, error, now)

    async def save(self, conn: AsyncConnection, held: list[Held], out: Outgoing) -> None:
        """Write the cases, then what came of them, then the messages, so that outbox order is commit order for a case."""
        await cases.save(conn, held)
        await story.add_steps(conn, out.steps)
        await story.change_steps(conn, out.changed)
        await story.give(conn, out.errands)
        await errands.withdraw(conn, out.withdrawn)
        if ended := await holds.end(conn, out.ended):
            await cases.wake_others(conn, ended, min(one.ended_at for one in out.ended))
        await promises.judge(conn, out.judged)
        await dealings.add_offers(conn, out.offers)
        await trials.enter(conn, out.trials)
        await story.tell(conn, out.entries)
        await self.outbox.append(conn, out.messages)

    def _followed(self, held: Held, rules: Rules, at: datetime, *, out: Outgoing) -> tuple[Held, Policy]:
        """Bring a case to the policy version that applies to it, and up to date with its facts."""
        if held.unread is not None:
            raise LookupError(f"what is stored of it cannot be read: {held.unread}")
        if held.case.tenant in rules.unread:
            raise LookupError("what its tenant has chosen cannot be read")
        found = followed(held.case, rules.pinned(held), rules.choices_of(held.case.tenant), at)
        if found is None:
            raise LookupError(f"policy {held.policy} {held.policy_version} cannot be read")
        before, after = (held.policy, held.policy_version), (found.policy.name, found.policy.version)
        if held.case.spell and before != after:
            out.entries.append(entry(held.case, at, "case.policy_changed", policy=_ref(after), before=_ref(before)))
        for change in found.changes:
            self._announce(found.case, change, at, out, found.policy)
        for errand in found.withdrawn:
            self._withdraw(found.case, errand, at, out)
        moved = held.moved_at if before == after and not (found.changes or found.withdrawn) else at
        return replace(held, case=found.case, policy=after[0], policy_version=after[1], moved_at=moved), found.policy

    def _announce(self, case: Case, change: Change, at: datetime, out: Outgoing, policy: Policy) -> None:
        match change:
            case Opened():
                self._open(case, policy, at, out)
            case Reopened():
                self.event(case, "case.stage_changed", at, out, reason="overdue_again")
            case Cured():
                self.event(case, "case.cured", at, out)
            case Closed(spell):
                self.event(replace(case, spell=spell), "case.closed", at, out)
            case Cancelled(contact, reason):
                data = ContactCancelled(task_id=contact.task_id, borrower_id=case.borrower_id, case_id=case.case_id, reason=reason)
                out.changed.append(
                    story.StepChange(case.tenant, case.borrower_id, contact.task_id, ContactState.CANCELLED.value, reason=reason)
                )
                out.entries.append(entry(case, at, "contact.cancelled", reason=reason, task_id=contact.task_id, step=contact.step))
                out.messages.append(self.task_message(case, "contact.cancelled.v1", contact.task_id, at, data=data))
                self.meters.cancelled.inc()
            case Released(stop, why):
                self.release(case, Release(stop, why), at, out)
            case Settled(promise, before):
                self._judge(case, promise, before, at=at, out=out)
            case _:
                assert_never(change)

    def release(self, case: Case, release: Release, at: datetime, out: Outgoing) -> None:
        """Announce that a hold of this case is over, whoever or whatever ended it."""
        stop = release.stop
        out.ended.append(holds.EndedRow(case.tenant, case.borrower_id, stop.status_id, at, release.by, release.why))
        ended = HoldEnded(hold_id=stop.status_id, borrower_id=case.borrower_id, case_id=case.case_id, at=at)
        out.messages.append(self.task_message(case, "case.hold_ended.v1", stop.status_id, at, data=ended))
        out.messages += clocks_resumed(case, release, Telling(self.writer.partitions, self.tenants[0], at))
        self.event(case, "case.released", at, out, reason=release.why, hold_id=stop.status_id, stop=stop.kind)

    def _judge(self, case: Case, promise: Promise, before: PromiseState, *, at: datetime, out: Outgoing) -> None:
        out.judged.append(
            promises.JudgedRow(
                case.tenant, case.borrower_id, promise.promise_id, promise.state.value, promise.paid, promise.decided_at, promise.since,
            )
        )  # fmt: skip
        if promise.state is not before:
            self.event(
                case, f"case.promise_{promise.state.value}", at, out, promise_id=promise.promise_id, amount=promise.amount,
                paid=promise.paid, due_on=promise.due_on,
            )  # fmt: skip

    def _open(self, case: Case, policy: Policy, at: datetime, out: Outgoing) -> None:
        trial = case.trial
        if trial is not None:
            out.trials.append(
                trials.TrialRow(
                    case.tenant, case.borrower_id, case.case_id, case.spell, trial.policy, trial.version, trial.arm.value, at,
                )
            )  # fmt: skip
        told = {} if trial is None else {"experiment": f"{trial.policy}@{trial.version}", "arm": trial.arm.value}
        self.event(case, "case.opened", at, out, policy=_ref((policy.name, policy.version)), **told)

    def _planned(self, held: Held, policy: Policy, at: datetime, *, out: Outgoing) -> Held:
        planned = plan(held.case, policy, at)
        case = held.case
        for due in planned.due:
            case = self._done(replace(held, case=case), due, at, out)
        if case.handed_to != held.case.handed_to:
            case, changes = follow(case, policy, at)
            for change in changes:
                self._announce(case, change, at, out, policy)
        reason, upcoming = planned.reason, planned.upcoming
        return replace(
            held,
            case=case,
            unsettled_since=None,
            rests_until=None,
            next_at=planned.next_at,
            contact_at=upcoming.at if upcoming else None,
            contact_step=upcoming.step if upcoming else None,
            reason=reason.kind,
            reason_until=reason.until,
            reason_event=reason.event,
            reason_task=_errand_id(case, reason.errand),
            moved_at=at,
        )

    def _done(self, held: Held, due: Due, at: datetime, out: Outgoing) -> Case:
        """Do one thing that is due; return the case with it done."""
        case = held.case
        match due:
            case ContactDue():
                self._request(held, due, at, out)
            case ErrandDue():
                case = self.give(case, due, at, out)
                if due.work.queue == LEGAL_QUEUE:
                    told = {"step": due.key, "task_id": case.errands[-1].task_id, "loans": _loans(case)}
                    self.event(case, "case.legal_requested", at, out, reason=due.work.kind, **told)
            case FlagDue(flagging, name):
                case = replace(case, flagged=case.flagged | {flagging})
                self.event(case, "case.flagged", at, out, reason=name, step=flagging, flag=name)
            case EmitDue(step, event):
                case = having_done(case, due, at)
                self.event(case, f"case.{event}", at, out, **_grounds(case, step))
            case HandOverDue(step, to):
                case = having_done(case, due, at)
                self.event(case, "case.handed_over", at, out, reason=to, to=to, **_grounds(case, step))
            case OfferDue(step, terms):
                made = Made(ids.derived("o", case.tenant, case.case_id, case.spell, step.id), OfferState.OPEN, "policy", step.id)
                case = self.offer(replace(case, acted=case.acted | {step.id}), made, terms, at, out)
            case _:
                assert_never(due)
        return case

    def _request(self, held: Held, due: ContactDue, at: datetime, out: Outgoing) -> None:
        case, action, task_id = held.case, due.step.action, task_id_of(held.case, due)
        if not isinstance(action, Send):
            raise TypeError(f"step {due.step.id} sends nothing")
        loans = [debt.loan_id for debt in due.debts]
        data = ContactRequested(
            task_id=task_id, borrower_id=case.borrower_id, case_id=case.case_id,
            policy=_ref((held.policy, held.policy_version)), step=due.step.id, template=action.template,
            purpose=action.purpose, channels=action.channels, not_before=at, expires_at=due.expires_at,  # type: ignore[arg-type]  # names of the contract's lists
            fallback_after=action.fallback_after, on_unknown=action.on_unknown.value,
            debts=tuple(DebtRef(loan_id=d.loan_id, fact_epoch=d.epoch, fact_version=d.version, fact_as_of=d.as_of) for d in due.debts),
            jurisdictions=tuple(sorted({name for debt in due.debts for name in debt.jurisdictions})),
            variables=self._offer_said(case, due),
        )  # fmt: skip
        out.steps.append(
            story.StepRow(
                case.tenant, case.borrower_id, task_id, case.case_id, case.spell, due.step.id, due.about, due.occurrence,
                ContactState.REQUESTED.value, at, due.expires_at,
                corrections.encoded([DebtSeen(debt.loan_id, debt.epoch, debt.version) for debt in due.debts]),
                action.purpose,
            )
        )  # fmt: skip
        out.entries.append(
            entry(case, at, "contact.requested", task_id=task_id, step=due.step.id, occurrence=due.occurrence, loans=loans,
                  purpose=action.purpose, channels=action.channels, expires_at=due.expires_at,
                  policy=_ref((held.policy, held.policy_version)))
        )  # fmt: skip
        out.messages.append(self.task_message(case, "contact.requested.v1", task_id, at, data=data))
        self.meters.requested.labels(action.purpose).inc()

    def _offer_said(self, case: Case, due: ContactDue) -> dict[str, str]:
        """Return the template variables for the offer a message carries; the limits are in its terms, the notifier works out amounts."""
        if due.step.offer is None or due.step.id not in case.acted or not case.offers:
            return {}
        return {"offer_id": case.offers[-1].offer_id, "offer_until": case.offers[-1].expires_at.isoformat()}

    def give(self, case: Case, due: ErrandDue, at: datetime, out: Outgoing) -> Case:
        """Give a task to a person; return the case that has it."""
        task_id = ids.derived("h", case.tenant, case.case_id, case.spell, due.key, due.occurrence)
        work = due.work
        out.errands.append(
            story.ErrandRow(
                case.tenant, case.borrower_id, task_id, case.case_id, case.spell, due.key, due.occurrence, work.queue, work.kind,
                at, at + work.within, work.priority,
            )
        )  # fmt: skip
        self.event(case, "case.task_created", at, out, reason=work.kind, task_id=task_id, queue=work.queue)
        return replace(case, errands=(*case.errands, Errand(task_id, due.key, due.occurrence, None)))

    def _withdraw(self, case: Case, errand: Errand, at: datetime, out: Outgoing) -> None:
        out.withdrawn.append(errands.WithdrawnRow(case.tenant, case.borrower_id, errand.task_id, at))
        self.event(case, "case.task_withdrawn", at, out, reason="nothing_owed", task_id=errand.task_id, about=errand.key)

    def offer(self, case: Case, made: Made, terms: Terms, at: datetime, out: Outgoing) -> Case:
        """Make an offer, or propose one that a second person must approve; the borrower hears of it only once it is open."""
        offer = Offer(made.offer_id, made.state, at + terms.valid_for)
        out.offers.append(
            dealings.OfferRow(
                case.tenant, case.borrower_id, case.case_id, made.offer_id, case.spell, made.step, made.state.value,
                _encode(terms_written(terms)), made.by, at, offer.expires_at,
            )
        )  # fmt: skip
        if made.state is OfferState.OPEN:
            self.offered(case, offer, terms_written(terms), at, out, step=made.step, by=made.by)
        return replace(case, offers=(*case.offers, offer))

    def offered(
        self, case: Case, offer: Offer, terms: Mapping[str, Any], at: datetime, out: Outgoing, **detail: Any
    ) -> None:  # detail is open
        """Announce an open offer: its limits and when it expires."""
        shown = {name: value for name, value in terms.items() if name != "valid_for"}
        told = {"offer_id": offer.offer_id, "expires_at": offer.expires_at, "loans": _loans(case), **shown, **detail}
        self.event(case, "case.offer_made", at, out, reason=terms["kind"], **told)

    def _parked(self, held: Held, error: Exception, now: datetime) -> tuple[Held, Outgoing]:
        """Park one case for a person, discarding whatever its rules had half done."""
        at, out, why = held.moment(now), Outgoing(), f"{type(error).__name__}: {error}"[:300]
        self.parking.count(now, why)
        case, given = held.case, [errand for errand in held.case.errands if errand.key == DOUBT_KEY]
        if all(errand.done_at is not None for errand in given):
            case = self.give(case, ErrandDue(DOUBT_KEY, len(given) + 1, DOUBT_WORK), at, out)
        out.entries.append(entry(case, at, "case.parked", reason=why))
        self.meters.parked.inc()
        parked = replace(
            held, case=case, next_at=None, contact_at=None, contact_step=None, in_doubt=why, reason="in_doubt", reason_until=None,
            reason_event=None, reason_task=_errand_id(case, DOUBT_KEY), unsettled_since=None, rests_until=None, moved_at=at,
        )  # fmt: skip
        return parked, out

    def event(self, case: Case, kind: str, at: datetime, out: Outgoing, /, *, reason: str | None = None, **detail: Any) -> None:
        """Announce an event of a case and add it to its timeline; announced again about the same thing, it has the same id."""
        data = CaseEvent(
            case_id=case.case_id, borrower_id=case.borrower_id, spell=case.spell, at=at, loan_id=case.loan_id or None, reason=reason,
            detail=detail,
        )  # fmt: skip
        about = next(filter(None, map(detail.get, _ABOUT)), None) or _written(at)
        envelope = Envelope(
            type=f"{kind}.v1", id=ids.derived("e", case.tenant, case.case_id, case.spell, kind, about), source=self.writer.source, time=at,
            tenant=case.tenant, subject=case.case_id,
        )  # fmt: skip
        key = f"{case.tenant}/{case.borrower_id}"
        out.messages.append(self.writer.message(CASES, envelope, data, key=key, borrower_id=case.borrower_id))
        out.entries.append(entry(case, at, kind, reason=reason, spell=case.spell, **detail))

    def task_message(self, case: Case, kind: str, task_id: str, at: datetime, *, data: msgspec.Struct) -> Message:
        """Return a message to the notifier; the same kind and id give the same message."""
        envelope = Envelope(
            type=kind, id=ids.derived("e", case.tenant, kind, task_id), source=self.writer.source, time=at, tenant=case.tenant,
            subject=task_id,
        )  # fmt: skip
        return self.writer.message(TASKS, envelope, data, key=f"{case.tenant}/{case.borrower_id}", borrower_id=case.borrower_id)


def _loans(case: Case) -> list[str]:
    return [debt.loan_id for debt in case.owed]


def _grounds(case: Case, step: Step) -> dict[str, Any]:
    """Return the grounds for an act: the debts and the fact versions seen, the notice before it, and who approved it."""
    notice = case.said(step.after.step, None) if step.after is not None else ()
    approved = next((one for one in case.approvals if one.step == step.id), None)
    return {
        "step": step.id, "loans": _loans(case),
        "debts": [{"loan_id": debt.loan_id, "fact_epoch": debt.epoch, "fact_version": debt.version} for debt in case.owed],
        **({"after": {"step": notice[-1].step, "task_id": notice[-1].task_id, "at": notice[-1].done_at}} if notice else {}),
        **({"approved": {"by": approved.by, "at": approved.at}} if approved is not None and approved.approved else {}),
    }  # fmt: skip


@lru_cache(maxsize=64)
def _written(at: datetime) -> str:
    """Return a moment as text; most cases of a batch share one."""
    return at.astimezone(UTC).isoformat()


def _ref(which: tuple[str, int]) -> PolicyRef:
    return PolicyRef(name=which[0], version=which[1])


def _errand_id(case: Case, key_or_id: str | None) -> str | None:
    """Return the id of the open task a reason refers to."""
    found = (e.task_id for e in case.errands if e.done_at is None and key_or_id in {e.key, e.task_id})
    return next(found, None)
