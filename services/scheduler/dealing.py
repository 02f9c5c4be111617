"""What people settle in a case: they approve steps, attach evidence, make and decide on offers, and take a case back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import ids
from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.value import replace
from services.scheduler.acting import Desk, Made
from services.scheduler.domain.builtin import APPROVE_OFFER_WORK
from services.scheduler.domain.case import Case, State
from services.scheduler.domain.dealing import Approval, Exhibit, Offer, OfferState, Terms, untimed
from services.scheduler.domain.errands import HANDED_OVER
from services.scheduler.domain.escalating import asking_key, offer_key
from services.scheduler.domain.planner import ErrandDue
from services.scheduler.domain.policy import Policy, Step
from services.scheduler.domain.standing import Want, missing
from services.scheduler.finding import case_row
from services.scheduler.outgoing import Outgoing, entry
from services.scheduler.store import cases, dealings, errands
from services.scheduler.store.dealings import Decided
from services.scheduler.store.errands import Done
from services.scheduler.store.held import CaseKey, Held

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(slots=True)
class Sitting:
    """A case a person is working on: locked, with its policy, and what is to be written."""

    conn: AsyncConnection
    held: Held
    policy: Policy
    by: str
    at: datetime
    out: Outgoing = field(default_factory=Outgoing)

    @property
    def case(self) -> Case:
        """Return the case in its current state."""
        return self.held.case

    def tell(self, kind: str, /, *, reason: str | None = None, **detail: Any) -> None:
        """Add an entry to its timeline."""
        self.out.entries.append(entry(self.case, self.at, kind, reason=reason, by=self.by, **detail))

    async def end_task(self, key: str, note: str | None) -> None:
        """Complete the open task with this key, if there is one."""
        for errand in self.case.errands:
            if errand.key == key and errand.done_at is None:
                await errands.complete(self.conn, self.case.tenant, errand.task_id, Done(self.by, self.at, note, None))
                self.tell("task.completed", reason=key.partition(":")[0], task_id=errand.task_id, note=note)


@dataclass(frozen=True, slots=True)
class Dealer:
    """Does what people ask for in cases, one transaction each; the case is planned again at once."""

    engine: AsyncEngine
    clock: Clock
    desk: Desk
    look_again: Callable[[], None]

    async def decide_step(self, caller: Principal, case_id: str, step_id: str, *, approved: bool, reason: str | None) -> None:
        """Approve or reject a step that waits for approval."""
        async with self._sitting(caller, case_id) as sitting:
            step, case = _step(sitting.policy, step_id), sitting.case
            decided = next((one for one in case.approvals if one.step == step_id), None)
            if decided is not None and (decided.approved, decided.by) == (approved, sitting.by):
                return
            _expect_undecided(case, step, decided, approves=approved)
            if approved and step.needs.approval is not None and step.needs.approval.another_person:
                _expect_another(sitting.by, {exhibit.by for exhibit in case.exhibits if exhibit.document in step.needs.documents})
            seen = [dict(row) for row in await dealings.exhibits(sitting.conn, case) if row.spell == case.spell]
            decision = Approval(step_id, approved, sitting.by, sitting.at)
            await dealings.add_approval(sitting.conn, case, decision, reason=reason, exhibits=_encode(seen))
            for want in Want:
                await sitting.end_task(asking_key(want, step_id), reason)
            sitting.tell("step.approved" if approved else "step.rejected", reason=reason, step=step_id)

    async def attach(self, caller: Principal, case_id: str, document: str, *, sha256: str, reference: str) -> None:
        """Attach a document; complete the evidence tasks of steps that now have all they need."""
        async with self._sitting(caller, case_id) as sitting:
            exhibit = Exhibit(document, sitting.by, sitting.at)
            if not await dealings.add_exhibit(sitting.conn, sitting.case, exhibit, sha256=sha256, reference=reference):
                return
            sitting.held = replace(sitting.held, case=replace(sitting.case, exhibits=(*sitting.case.exhibits, exhibit)))
            sitting.tell("evidence.attached", reason=document, document=document, sha256=sha256, reference=reference)
            for step in sitting.policy.steps:
                if step.needs.documents and not missing(sitting.case, step):
                    await sitting.end_task(asking_key(Want.EVIDENCE, step.id), None)

    async def make_offer(self, caller: Principal, case_id: str, terms: Terms, *, reason: str | None, timed: bool) -> str:
        """Make an offer within the policy's limits, or propose one that a second person must approve.

        An offer that is not `timed` is open as long as the limits allow.
        """
        async with self._sitting(caller, case_id) as sitting:
            case = sitting.case
            if not case.owed:
                raise DomainError(409, "nothing_owed", "nothing in this case is overdue")
            if standing := next((offer for offer in case.offers if offer.stands(sitting.at)), None):
                raise DomainError(409, "offer_stands", "only one offer can be open at a time", offer_id=standing.offer_id)
            terms = terms if timed else untimed(terms, sitting.policy.limits)
            within = any(limits.holds(terms) for limits in sitting.policy.limits)
            offer_id = ids.derived("o", case.tenant, case.case_id, case.spell, sitting.by, len(case.offers) + 1)
            made = Made(offer_id, OfferState.OPEN if within else OfferState.PROPOSED, sitting.by)
            case = self.desk.offer(case, made, terms, sitting.at, sitting.out)
            if not within:
                case = self.desk.give(case, ErrandDue(offer_key(offer_id), 1, APPROVE_OFFER_WORK), sitting.at, sitting.out)
                sitting.tell("offer.proposed", reason=reason, offer_id=offer_id)
            sitting.held = replace(sitting.held, case=case)
        return offer_id

    async def decide_proposal(self, caller: Principal, case_id: str, offer_id: str, *, approved: bool, reason: str | None) -> None:
        """Approve or reject an offer beyond the limits; the person who made it cannot."""
        async with self._sitting(caller, case_id) as sitting:
            row, offer = await _offer(sitting, offer_id)
            state = OfferState.OPEN if approved else OfferState.REJECTED
            if offer.state is state and sitting.by in {row.approved_by, row.decided_by}:
                return
            _expect_state(offer, OfferState.PROPOSED, sitting.at if approved else None)
            _expect_another(sitting.by, {row.made_by})
            terms = msgspec.json.decode(row.terms)
            expires_at = sitting.at + (row.expires_at - row.made_at)
            decided = Decided(state, sitting.by, sitting.at, expires_at, reason=reason, approves=approved)
            await dealings.put_offer(sitting.conn, sitting.case, offer_id, decided)
            await sitting.end_task(offer_key(offer_id), reason)
            if approved:
                open_ = Offer(offer_id, state, expires_at)
                self.desk.offered(sitting.case, open_, terms, sitting.at, sitting.out, by=row.made_by, approved_by=sitting.by)
            else:
                sitting.tell("offer.rejected", reason=reason, offer_id=offer_id)

    async def answer_offer(
        self, caller: Principal, case_id: str, offer_id: str, *, accepted: bool, taken: dict[str, Any], reason: str | None
    ) -> None:
        """Record that the borrower has accepted or declined an open offer."""
        async with self._sitting(caller, case_id) as sitting:
            row, offer = await _offer(sitting, offer_id)
            state, terms = OfferState.ACCEPTED if accepted else OfferState.DECLINED, msgspec.json.decode(row.terms)
            if offer.state is state:
                return
            _expect_state(offer, OfferState.OPEN, sitting.at)
            if (taken.get("months") or 0) > (terms.get("max_months") or 0):
                raise DomainError(422, "beyond_offer", f"the offer is {terms.get('max_months') or 'no'} months at most")
            decided = Decided(state, sitting.by, sitting.at, offer.expires_at, taken=_encode(taken) if accepted else None, reason=reason)
            await dealings.put_offer(sitting.conn, sitting.case, offer_id, decided)
            told = {"offer_id": offer_id, "terms": terms, "by": sitting.by, **({"taken": taken} if accepted else {})}
            self.desk.event(sitting.case, f"case.offer_{state.value}", sitting.at, sitting.out, reason=reason, **told)

    async def take_back(self, caller: Principal, case_id: str, reason: str) -> None:
        """Take back a case that was handed over: its contacts continue where they stopped."""
        async with self._sitting(caller, case_id) as sitting:
            if sitting.case.handed_to is None:
                raise DomainError(409, "not_handed_over", "this case is not handed over")
            before = sitting.case
            sitting.held = replace(sitting.held, case=replace(before, handed_to=None, handed_at=None))
            await sitting.end_task(HANDED_OVER, reason)
            told = {"from": before.handed_to, "handed_at": before.handed_at, "by": sitting.by}
            self.desk.event(sitting.case, "case.taken_back", sitting.at, sitting.out, reason=reason, **told)

    @asynccontextmanager
    async def _sitting(self, caller: Principal, case_id: str) -> AsyncIterator[Sitting]:
        """Lock a case for the caller, and write what comes of it."""
        if caller.person is None:
            raise DomainError(403, "forbidden", "only a person can do this, and this key is not a person's")
        async with self.engine.begin() as conn:
            row = await case_row(conn, caller.tenant, case_id)
            [held] = await cases.lock(conn, [CaseKey(caller.tenant, row.borrower_id, case_id)])
            now = await self.clock.at(conn)
            rules = await self.desk.rulebook.of(conn, [caller.tenant], now, held=[held])
            policy = rules.pinned(held)
            if policy is None:
                raise DomainError(409, "in_doubt", "the policy of this case cannot be read")
            sitting = Sitting(conn, held, policy, caller.person, held.moment(now))
            yield sitting
            if sitting.out != Outgoing():
                await self.desk.save(conn, [replace(sitting.held, moved_at=sitting.at, next_at=sitting.held.woken(now))], sitting.out)
        self.look_again()


def decided_elsewhere(case: Case, key: str, spell: int) -> str | None:
    """Return where the decision a task asks for is made; None for work that is simply reported done, or that is of a past spell."""
    kind, _, about = key.partition(":")
    if spell != case.spell or case.state is not State.OPEN:
        return None
    case_id = case.case_id
    if kind == Want.EVIDENCE and about:
        return f"it completes by itself once the documents are attached: POST /v1/cases/{case_id}/evidence"
    if kind == Want.APPROVAL and about:
        return f"decide with POST /v1/cases/{case_id}/steps/{about}:approve or :reject"
    return f"decide with POST /v1/cases/{case_id}/offers/{about}:approve or :reject" if kind == "offer" and about else None


def _step(policy: Policy, step_id: str) -> Step:
    found = next((step for step in policy.steps if step.id == step_id), None)
    if found is None:
        raise DomainError(404, "not_found", f"the policy of this case has no step {step_id[:64]}")
    if found.needs.approval is None:
        raise DomainError(409, "not_asked", "this step needs no approval")
    return found


def _expect_undecided(case: Case, step: Step, decided: Approval | None, *, approves: bool) -> None:
    if decided is not None:
        said = "approved" if decided.approved else "rejected"
        raise DomainError(409, "decided", f"{decided.by} has {said} it in this spell", by=decided.by, approved=decided.approved)
    if not any(errand.key == asking_key(want, step.id) for want in Want for errand in case.errands):
        raise DomainError(409, "not_asked", "its day has not come, or what it waits for has not happened")
    if approves and (lacking := missing(case, step)):
        raise DomainError(409, "evidence_missing", f"not attached yet: {', '.join(lacking)}", missing=lacking)


def _expect_another(by: str, others: set[str]) -> None:
    if by in others:
        raise DomainError(403, "own_work", "somebody other than the person whose work it is must decide")


def _expect_state(offer: Offer, wanted: OfferState, now: datetime | None) -> None:
    """Refuse what the offer's state does not allow; without `now`, an expired offer can be decided on too."""
    if offer.state is not wanted:
        raise DomainError(409, "wrong_state", f"the offer is {offer.state.value}, not {wanted.value}", state=offer.state.value)
    if now is not None and not offer.stands(now):
        raise DomainError(409, "expired", "the offer has expired", expires_at=offer.expires_at)


async def _offer(sitting: Sitting, offer_id: str) -> tuple[RowMapping, Offer]:
    rows = {row.offer_id: row for row in await dealings.offers(sitting.conn, sitting.case)}
    offer = next((one for one in sitting.case.offers if one.offer_id == offer_id), None)
    if offer is None:
        raise DomainError(404, "not_found", f"this spell of the case has no offer {offer_id[:128]}")
    return rows[offer_id], offer
