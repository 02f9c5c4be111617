"""From what the rules say to what is written: rows, entries of the story and messages, for the cases a transaction holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, assert_never

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import ids
from libs.common.bus.ports import Message
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.case_events import CaseEvent
from libs.common.contracts.catalogue import CASES, TASKS
from libs.common.contracts.contact_tasks import ContactCancelled, ContactRequested, DebtRef, PolicyRef
from libs.common.outbox import Outbox
from services.scheduler.domain.advancing import followed
from services.scheduler.domain.builtin import DOUBT_WORK
from services.scheduler.domain.case import Cancelled, Case, Change, Closed, ContactState, Cured, Errand, Opened, Reopened
from services.scheduler.domain.corrected import DebtSeen
from services.scheduler.domain.planner import ContactDue, ErrandDue, FlagDue, plan
from services.scheduler.domain.policy import Policy, Send
from services.scheduler.metrics import Meters
from services.scheduler.parking import ParkingLimit
from services.scheduler.rulebook import Rulebook, Rules
from services.scheduler.store import cases, corrections, story, trials
from services.scheduler.store.held import Held

DOUBT_KEY = "in_doubt"
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(slots=True)
class Outgoing:
    """What is written beside the case rows."""

    entries: list[story.Entry] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    steps: list[story.StepRow] = field(default_factory=list)
    changed: list[story.StepChange] = field(default_factory=list)
    errands: list[story.ErrandRow] = field(default_factory=list)
    trials: list[trials.TrialRow] = field(default_factory=list)

    def add(self, other: Outgoing) -> None:
        """Take in what another case gave."""
        self.entries += other.entries
        self.messages += other.messages
        self.steps += other.steps
        self.changed += other.changed
        self.errands += other.errands
        self.trials += other.trials


def entry(case: Case, at: datetime, kind: str, /, *, reason: str | None = None, **detail: Any) -> story.Entry:
    """Return a line of a case's story."""
    return story.Entry(case.tenant, case.borrower_id, case.case_id, at, kind, reason, _encode(detail))


def task_id_of(case: Case, due: ContactDue) -> str:
    """Return the id that this contact always has; a reminder is about a due date, and so is its id."""
    step = due.step.id if due.about is None else f"{due.step.id}@{due.about.isoformat()}"
    return ids.derived("t", case.tenant, case.case_id, case.spell, step, due.occurrence)


@dataclass(frozen=True, slots=True)
class Desk:
    """Applies the rules to held cases."""

    writer: Writer
    outbox: Outbox
    meters: Meters
    parking: ParkingLimit
    rulebook: Rulebook = field(default_factory=Rulebook)

    def follow(self, held: Held, rules: Rules, now: datetime) -> tuple[Held, Outgoing]:
        """Bring a case to where its facts are; a rule that fails parks the case."""
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
        """Write the cases, then what came of them, then the messages: outbox order is commit order for a case."""
        await cases.save(conn, held)
        await story.add_steps(conn, out.steps)
        await story.change_steps(conn, out.changed)
        await story.give(conn, out.errands)
        await trials.enter(conn, out.trials)
        await story.tell(conn, out.entries)
        await self.outbox.append(conn, out.messages)

    def _followed(self, held: Held, rules: Rules, at: datetime, *, out: Outgoing) -> tuple[Held, Policy]:
        """Bring a case to the policy version that rules it, and to where its facts are."""
        found = followed(held.case, rules.pinned(held), rules.choices_of(held.case.tenant), at)
        if found is None:
            raise LookupError(f"policy {held.policy} {held.policy_version} cannot be read")
        before, after = (held.policy, held.policy_version), (found.policy.name, found.policy.version)
        if held.case.spell and before != after:
            out.entries.append(entry(held.case, at, "case.policy_changed", policy=_ref(after), before=_ref(before)))
        for change in found.changes:
            self._announce(found.case, change, at, out, found.policy)
        moved = held.moved_at if before == after and not found.changes else at
        return replace(held, case=found.case, policy=after[0], policy_version=after[1], moved_at=moved), found.policy

    def _announce(self, case: Case, change: Change, at: datetime, out: Outgoing, policy: Policy) -> None:
        match change:
            case Opened():
                self._open(case, policy, at, out)
            case Reopened():
                self._event(case, "case.stage_changed", at, out, reason="overdue_again")
            case Cured():
                self._event(case, "case.cured", at, out)
            case Closed(spell):
                self._event(replace(case, spell=spell), "case.closed", at, out)
            case Cancelled(contact, reason):
                data = ContactCancelled(task_id=contact.task_id, borrower_id=case.borrower_id, case_id=case.case_id, reason=reason)
                out.changed.append(
                    story.StepChange(case.tenant, case.borrower_id, contact.task_id, ContactState.CANCELLED.value, reason=reason)
                )
                out.entries.append(entry(case, at, "contact.cancelled", reason=reason, task_id=contact.task_id, step=contact.step))
                out.messages.append(self._task_message(case, "contact.cancelled.v1", contact.task_id, at, data=data))
                self.meters.cancelled.inc()
            case _:
                assert_never(change)

    def _open(self, case: Case, policy: Policy, at: datetime, out: Outgoing) -> None:
        trial = case.trial
        if trial is not None:
            out.trials.append(
                trials.TrialRow(
                    case.tenant, case.borrower_id, case.case_id, case.spell, trial.policy, trial.version, trial.arm.value, at,
                )
            )  # fmt: skip
        told = {} if trial is None else {"experiment": f"{trial.policy}@{trial.version}", "arm": trial.arm.value}
        self._event(case, "case.opened", at, out, policy=_ref((policy.name, policy.version)), **told)

    def _planned(self, held: Held, policy: Policy, at: datetime, *, out: Outgoing) -> Held:
        planned = plan(held.case, policy, at)
        case = held.case
        for due in planned.due:
            match due:
                case ContactDue():
                    self._request(held, due, at, out)
                case ErrandDue():
                    case = self.give(case, due, at, out)
                case FlagDue(step, name):
                    case = replace(case, flagged=case.flagged | {step})
                    self._event(case, "case.flagged", at, out, reason=name, step=step, flag=name)
                case _:
                    assert_never(due)
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

    def _request(self, held: Held, due: ContactDue, at: datetime, out: Outgoing) -> None:
        case, action, task_id = held.case, due.step.action, task_id_of(held.case, due)
        if not isinstance(action, Send):
            raise TypeError(f"step {due.step.id} says nothing")
        loans = [debt.loan_id for debt in due.debts]
        data = ContactRequested(
            task_id=task_id, borrower_id=case.borrower_id, case_id=case.case_id,
            policy=_ref((held.policy, held.policy_version)), step=due.step.id, template=action.template,
            purpose=action.purpose, channels=action.channels, not_before=at, expires_at=due.expires_at,  # type: ignore[arg-type]  # names of the contract's lists
            fallback_after=action.fallback_after, on_unknown=action.on_unknown.value,
            debts=tuple(DebtRef(loan_id=d.loan_id, fact_epoch=d.epoch, fact_version=d.version) for d in due.debts),
            jurisdictions=tuple(sorted({name for debt in due.debts for name in debt.jurisdictions})),
        )  # fmt: skip
        out.steps.append(
            story.StepRow(
                case.tenant, case.borrower_id, task_id, case.case_id, case.spell, due.step.id, due.about, due.occurrence,
                ContactState.REQUESTED.value, at, due.expires_at,
                corrections.encoded([DebtSeen(debt.loan_id, debt.epoch, debt.version) for debt in due.debts]),
            )
        )  # fmt: skip
        out.entries.append(
            entry(case, at, "contact.requested", task_id=task_id, step=due.step.id, occurrence=due.occurrence, loans=loans,
                  purpose=action.purpose, channels=action.channels, expires_at=due.expires_at,
                  policy=_ref((held.policy, held.policy_version)))
        )  # fmt: skip
        out.messages.append(self._task_message(case, "contact.requested.v1", task_id, at, data=data))
        self.meters.requested.labels(action.purpose).inc()

    def give(self, case: Case, due: ErrandDue, at: datetime, out: Outgoing) -> Case:
        """Give a task to a person, and return the case that has it."""
        task_id = ids.derived("h", case.tenant, case.case_id, case.spell, due.key, due.occurrence)
        work = due.work
        out.errands.append(
            story.ErrandRow(
                case.tenant, case.borrower_id, task_id, case.case_id, case.spell, due.key, due.occurrence, work.queue, work.kind,
                at, at + work.within,
            )
        )  # fmt: skip
        self._event(case, "case.task_created", at, out, reason=work.kind, task_id=task_id, queue=work.queue)
        return replace(case, errands=(*case.errands, Errand(task_id, due.key, due.occurrence, None)))

    def _parked(self, held: Held, error: Exception, now: datetime) -> tuple[Held, Outgoing]:
        """Set one case aside for a person, whatever its rules have half done."""
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

    def _event(
        self, case: Case, kind: str, at: datetime, out: Outgoing, *, reason: str | None = None, **detail: Any
    ) -> None:  # detail is open
        data = CaseEvent(case_id=case.case_id, borrower_id=case.borrower_id, spell=case.spell, at=at, reason=reason, detail=detail)
        about = detail.get("task_id") or detail.get("step") or at.isoformat()
        envelope = Envelope(
            type=f"{kind}.v1", id=ids.derived("e", case.tenant, case.case_id, case.spell, kind, about), source=self.writer.source, time=at,
            tenant=case.tenant, subject=case.case_id,
        )  # fmt: skip
        key = f"{case.tenant}/{case.borrower_id}"
        out.messages.append(self.writer.message(CASES, envelope, data, key=key, borrower_id=case.borrower_id))
        out.entries.append(entry(case, at, kind, reason=reason, spell=case.spell, **detail))

    def _task_message(self, case: Case, kind: str, task_id: str, at: datetime, *, data: msgspec.Struct) -> Message:
        envelope = Envelope(
            type=kind, id=ids.derived("e", case.tenant, kind, task_id), source=self.writer.source, time=at, tenant=case.tenant,
            subject=task_id,
        )  # fmt: skip
        return self.writer.message(TASKS, envelope, data, key=f"{case.tenant}/{case.borrower_id}", borrower_id=case.borrower_id)


def _ref(which: tuple[str, int]) -> PolicyRef:
    return PolicyRef(name=which[0], version=which[1])


def _errand_id(case: Case, key_or_id: str | None) -> str | None:
    """Return the id of the open task that a reason names."""
    found = (e.task_id for e in case.errands if e.done_at is None and key_or_id in {e.key, e.task_id})
    return next(found, None)
