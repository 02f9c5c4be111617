"""Handles messages: facts, stops and outcomes, taken in by batch; the ticker decides what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus.ports import Record
from libs.common.clock import Clock
from libs.common.cloudevents import Envelope, Reader
from libs.common.contracts.borrower_profiles import BorrowerErasure, StatusState
from libs.common.contracts.catalogue import FACTS, OUTCOMES, PROFILES
from libs.common.contracts.contact_outcomes import ContactOutcome
from libs.common.contracts.overdue_facts import Anchor, DebtWatermark, OverdueFact
from libs.common.errors import PoisonError
from libs.common.value import Value, replace
from services.scheduler.acting import Desk
from services.scheduler.complaints import COMPLAINED, open_complaints
from services.scheduler.correcting import Review, row_of
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import ContactState, Debt
from services.scheduler.domain.corrected import MADE
from services.scheduler.domain.outcomes import REPLIES, after
from services.scheduler.domain.planner import reminder_at
from services.scheduler.domain.stops import Ending
from services.scheduler.outcome_work import give_work
from services.scheduler.outgoing import Outgoing, entry
from services.scheduler.profiles import on_profiles
from services.scheduler.rulebook import Rules
from services.scheduler.store import cases, corrections, debts, holds, links, reach, statuses, story, words
from services.scheduler.store.facts import debt_of
from services.scheduler.store.held import CaseKey, Held, case_key

ERASED = "~erased"
"""The stop of an erased borrower: no publisher's status can have this id, and nobody can be reached."""
LONGEST_SETTLE = 10
"""A case that keeps changing settles for at most this many times `settle`."""
_STATUS = "borrower.status.v1"
_encode = msgspec.json.Encoder().encode


class Fact(Value, frozen=True):
    """A fact as received; `said` is its encoded form."""

    envelope: Envelope
    fact: OverdueFact
    said: bytes

    @property
    def debt(self) -> tuple[str, str, str]:
        """Return the debt it is about."""
        return self.envelope.tenant, self.fact.borrower_id, self.fact.loan_id

    def case_of(self, loan_id: str) -> CaseKey:
        """Return the key of the borrower's case, or of a loan's."""
        return case_key(self.envelope.tenant, self.fact.borrower_id, self.fact.currency, loan_id)

    @property
    def perhaps(self) -> set[CaseKey]:
        """Return the cases that may ever have sent something about it."""
        return {self.case_of(""), self.case_of(self.fact.loan_id)}


class News(Value, frozen=True):
    """A fact that was newer, the case its debt is in, and the case it has left."""

    fact: Fact
    case: CaseKey
    left: CaseKey | None

    @property
    def home(self) -> debts.CaseOf:
        """Return the same case as debts identify it."""
        return self.case.tenant, self.case.borrower_id, self.case.currency, self.case.loan_id

    @property
    def cases(self) -> tuple[CaseKey, ...]:
        """Return the cases it concerns."""
        return (self.case,) if self.left is None else (self.case, self.left)


class FactTold(Value, frozen=True):
    """What a timeline entry says about a fact, with its fields in order."""

    anchor: Anchor | None
    as_of: date
    bucket: str
    caused_by: str | None
    epoch: int
    in_doubt: bool
    loan_id: str
    outstanding: int
    overdue: int
    resting_until: datetime | None
    status: str
    version: int


@dataclass(frozen=True, slots=True)
class Intake:
    """The handler of the consumer group `dunwell-scheduler`."""

    desk: Desk
    review: Review
    clock: Clock
    settle: timedelta
    reader: Reader

    async def take(self, conn: AsyncConnection, records: Sequence[Record]) -> None:
        """Handle a batch of one topic."""
        read = [(record, *self.reader.read(record)) for record in records]
        topic = records[0].topic
        if topic == FACTS.name:
            facts = [Fact(envelope, data, record.value or b"") for record, envelope, data in read if isinstance(data, OverdueFact)]
            await self.on_facts(conn, facts)
        elif topic == PROFILES.name:
            await on_profiles(conn, read, self.clock)
            await self.on_statuses(conn, [row for one in read if (row := _status_row(*one)) is not None])
        elif topic == OUTCOMES.name:
            await self.on_outcomes(conn, [(envelope, data) for _, envelope, data in read if isinstance(data, ContactOutcome)])
        await _raise_watermarks(conn, topic, [(record.partition, data) for record, _, data in read if isinstance(data, DebtWatermark)])

    async def on_facts(self, conn: AsyncConnection, facts: Sequence[Fact]) -> None:
        """Keep the newer facts, and bring the cases of these debts up to date."""
        newest: dict[tuple[str, str, str], Fact] = {}
        for fact in facts:
            if (before := newest.get(key := fact.debt)) is None or fact.fact.order > before.fact.order:
                newest[key] = fact
        if not newest:
            return
        now = await self.clock.at(conn)
        rules = await self.desk.rulebook.of(conn, {fact.envelope.tenant for fact in newest.values()}, now)
        segmented = {tenant for tenant in {debt[0] for debt in newest} if rules.choices_of(tenant).by_segment}
        segments = await reach.segments(conn, [debt[:2] for debt in newest if debt[0] in segmented])
        ordered = sorted(newest.items())
        seen = {key: debt_of(fact.fact, segments.get(key[:2])) for key, fact in ordered}
        rows = [self._row(fact, seen[key], rules, now) for key, fact in ordered]
        news = _news(ordered, await debts.keep_newer(conn, rows, now))
        late = [one.case for one in news if seen[one.fact.debt].owed]
        corrected = await self._corrected(conn, facts)
        concerned = [*(key for one in news for key in one.cases), *corrected]
        told = {debt: cases.Told(new.home, new.fact.said, segments.get(debt[:2]), seen[debt]) for new in news for debt in [new.fact.debt]}
        held = await cases.lock_or_begin(conn, concerned, late, policy=(BUILT_IN.name, BUILT_IN.version), told=told)
        now = await self.clock.at(conn)
        await self._absorb(conn, held, news, now=now)
        await self.review.hold(conn, [one for one in held if one.key in corrected] if corrected else [], now)

    async def on_statuses(self, conn: AsyncConnection, rows: Sequence[statuses.StatusRow]) -> None:
        """Keep the stops of borrowers, and cancel the contacts they forbid."""
        newest: dict[tuple[str, str, str], statuses.StatusRow] = {}
        for row in rows:
            key = (row.tenant, row.borrower_id, row.status_id)
            if key not in newest or (row.time, row.event_id) > (newest[key].time, newest[key].event_id):
                newest[key] = row
        if not newest:
            return
        changed = await statuses.keep_greater(conn, [row for _, row in sorted(newest.items())])
        changed -= await statuses.forget_overtaken(conn, {key[:2] for key in newest}, by=ERASED)
        erased = [(tenant, borrower) for tenant, borrower, status in sorted(changed) if status == ERASED]
        if changed:
            held = await cases.lock_of_borrowers(conn, [(tenant, borrower) for tenant, borrower, _ in changed])
            if erased:
                await words.forget(conn, erased)
                await links.erase(conn, erased)
            now, told = await self.clock.at(conn), Outgoing()
            for one in held:
                news = [row for key, row in sorted(newest.items()) if key in changed and key[:2] == (one.case.tenant, one.case.borrower_id)]
                told.entries += [_status_entry(one, row, one.moment(now)) for row in news]
            held = [replace(one, moved_at=one.moment(now)) for one in held]
            await self._follow(conn, held, now=now, wake=Held.woken, before=told)

    async def on_outcomes(self, conn: AsyncConnection, outcomes: Sequence[tuple[Envelope, ContactOutcome]]) -> None:
        """Record what became of contacts, each outcome once, and have their cases planned again."""
        if not outcomes:
            return
        keys = {CaseKey(envelope.tenant, o.borrower_id, o.case_id) for envelope, o in outcomes}
        complaining = {(envelope.tenant, o.borrower_id) for envelope, o in outcomes if envelope.type == COMPLAINED}
        theirs = await cases.keys_of_borrowers(conn, complaining) if complaining else []
        keys |= set(theirs)
        held = {(one.case.tenant, one.case.case_id): one for one in await cases.lock_rows(conn, keys)}
        seen = {
            (step.tenant, step.task_id): step
            for step in await story.steps_of(conn, sorted({(envelope.tenant, o.borrower_id, o.task_id) for envelope, o in outcomes}))
        }
        now, out, touched = await self.clock.at(conn), Outgoing(), {}
        news: list[tuple[Envelope, ContactOutcome]] = []
        changes: dict[tuple[str, str], story.StepChange] = {}
        for envelope, outcome in sorted(outcomes, key=lambda one: one[1].sequence):
            key, case_of = (envelope.tenant, outcome.task_id), (envelope.tenant, outcome.case_id)
            step, one = seen.get(key), held.get(case_of)
            if step is None or one is None or outcome.sequence <= step.sequence:
                continue
            kind, at = envelope.type.removesuffix(".v1"), one.moment(now)
            state = after(step.state, kind, final=outcome.final)
            made_at = step.made_at or (outcome.at if state in MADE else None)
            seen[key] = replace(step, state=state, sequence=outcome.sequence, made_at=made_at, done_at=_done_at(step, state, outcome))
            news.append((envelope, outcome))
            changes[key] = _step_change(seen[key], outcome, changes.get(key), kind)
            out.entries.append(_outcome_entry(one, kind, outcome, at=at))
            touched[case_of] = replace(one, moved_at=at, next_at=one.woken(now))
            self.desk.meters.outcomes.labels(kind).inc()
        out.changed.extend(changes.values())
        await self.desk.save(conn, list(touched.values()), out)
        perhaps = {(tenant, step.case_id) for (tenant, _), step in seen.items() if step.corrected and step.made_at is not None}
        await self.review.hold(conn, [one for key, one in held.items() if key in perhaps], now)
        await self._act_on_replies(conn, news, theirs, now)

    async def _act_on_replies(
        self, conn: AsyncConnection, news: Sequence[tuple[Envelope, ContactOutcome]], complaining: Sequence[CaseKey], now: datetime
    ) -> None:
        """Act on borrowers' replies; `complaining` are all cases of those who complain, already locked."""
        about = [(CaseKey(envelope.tenant, told.borrower_id, told.case_id), envelope.type, told) for envelope, told in news]
        replied = [holds.CaseOf(key.tenant, key.borrower_id, key.case_id) for key, kind, _ in about if kind == f"{Ending.REPLIED}.v1"]
        await cases.wake_others(conn, await holds.end_with(conn, replied, Ending.REPLIED, now), now)
        await open_complaints(conn, self.desk, complaining, [told for _, kind, told in about if kind == COMPLAINED], now=now)
        await give_work(conn, self.desk, [(key, kind, told.reason) for key, kind, told in about], now)

    async def _corrected(self, conn: AsyncConnection, facts: Sequence[Fact]) -> set[CaseKey]:
        """Keep what these facts, superseded or not, correct; return the cases for which that is new."""
        rows = {row.key: (row, fact.perhaps) for fact in facts if (row := row_of(fact.envelope, fact.fact)) is not None}
        new = await corrections.keep(conn, [rows[key][0] for key in sorted(rows)])
        return {case for key in new for case in rows[key][1]}

    def _row(self, fact: Fact, debt: Debt, rules: Rules, now: datetime) -> debts.DebtRow:
        value, choices = fact.fact, rules.choices_of(fact.envelope.tenant)
        try:
            wake_at = None if debt.owed else reminder_at(debt, choices.of((debt,), value.borrower_id), now)
        except Exception:  # noqa: BLE001  # a debt the rules fail on is woken at once, so that its case is parked where people see it
            wake_at = now
        return debts.DebtRow(
            tenant=fact.envelope.tenant, borrower_id=value.borrower_id, loan_id=value.loan_id, currency=value.currency, epoch=value.epoch,
            version=value.version, as_of=value.as_of, fact_at=fact.envelope.time, live=debt.active, owed=debt.owed, fact=fact.said,
            told=debts.Told.by(value),
            wake_at=None if wake_at is None else max(wake_at, now + self.settle), case_loan=choices.loan_of_case(debt, value.borrower_id),
        )  # fmt: skip

    async def _absorb(self, conn: AsyncConnection, held: Sequence[Held], news: Sequence[News], *, now: datetime) -> None:
        """Add the facts to their cases' timelines, and let the cases settle in case more follow."""
        by_case: dict[CaseKey, list[News]] = {}
        for new in news:
            for key in new.cases:
                by_case.setdefault(key, []).append(new)
        resting, told = [], Outgoing()
        for one in held:
            if not (heard := by_case.get(one.key)):
                continue
            newest = max(new.fact.envelope.time for new in heard)
            resting.append(self._resting(one, newest, now))
            for new in heard:
                told.entries += _fact_entries(one, new, one.moment(now))
        await self._follow(conn, resting, now=now, wake=lambda one, _: one.rests_until, before=told)

    def _resting(self, held: Held, newest: datetime, now: datetime) -> Held:
        since = held.unsettled_since or now
        until = min(now + self.settle, since + LONGEST_SETTLE * self.settle)
        return replace(
            held, unsettled_since=since, rests_until=until, reason="settling", reason_until=until, in_doubt=None,
            newest_fact_at=newest if held.newest_fact_at is None else max(newest, held.newest_fact_at), moved_at=held.moment(now),
        )  # fmt: skip

    async def _follow(
        self, conn: AsyncConnection, held: Iterable[Held], *, now: datetime, wake: Callable[[Held, datetime], datetime | None],
        before: Outgoing | None = None,
    ) -> None:  # fmt: skip
        out, followed, held = before or Outgoing(), [], list(held)
        rules = await self.desk.rulebook.of(conn, {one.case.tenant for one in held}, now, held=held)
        for one in held:
            new, given = self.desk.follow(one, rules, now)
            followed.append(new if new.in_doubt is not None else replace(new, next_at=wake(new, now)))
            out.add(given)
        await self.desk.save(conn, followed, out)


def _status_row(record: Record, envelope: Envelope, data: msgspec.Struct | None) -> statuses.StatusRow | None:
    """Return the stop a message is about; None when it is about something else."""
    match data:
        case StatusState():
            return statuses.StatusRow(
                envelope.tenant, data.borrower_id, data.status_id, data.status, data.from_, data.until, True, data.time, data.id,
            )  # fmt: skip
        case BorrowerErasure():
            return statuses.StatusRow(envelope.tenant, data.borrower_id, ERASED, "erased", data.time, None, True, data.time, data.id)
        case None if envelope.type == _STATUS:
            return _closed(record, envelope)
        case _:
            return None


def _closed(record: Record, envelope: Envelope) -> statuses.StatusRow:
    """Return the end of a stop; only the key says which one: `tenant/borrower/status:id`."""
    parts = (record.key or b"").decode().split("/", 2)
    if len(parts) != 3 or not parts[2].startswith("status:"):
        raise PoisonError("unreadable", "a closed status has no key of the form tenant/borrower/status:id")
    status_id = parts[2].removeprefix("status:")
    return statuses.StatusRow(
        envelope.tenant, parts[1], status_id, "closed", envelope.time, envelope.time, False, envelope.time, envelope.id,
    )  # fmt: skip


def _step_change(step: story.StepSeen, outcome: ContactOutcome, before: story.StepChange | None, kind: str) -> story.StepChange:
    """Return what an outcome changes of a contact, on top of earlier ones in this batch; a reply only advances the sequence."""
    if kind in REPLIES:
        held = before or story.StepChange(
            step.tenant, step.borrower_id, step.task_id, step.state.value, made_at=step.made_at, moves=False, done_at=step.done_at
        )  # fmt: skip
        return replace(held, sequence=outcome.sequence)
    return story.StepChange(
        step.tenant, step.borrower_id, step.task_id, step.state.value, outcome.until, outcome.channel, outcome.reason, outcome.sequence,
        step.made_at, done_at=step.done_at,
    )  # fmt: skip


def _done_at(step: story.StepSeen, state: ContactState, outcome: ContactOutcome) -> datetime | None:
    """Return when it was accepted or arrived, as long as it is done; one that came back and went out again starts afresh."""
    if state is not ContactState.DONE:
        return None
    return step.done_at if step.state is ContactState.DONE else outcome.at


def _outcome_entry(held: Held, kind: str, outcome: ContactOutcome, *, at: datetime) -> story.Entry:
    """Return the timeline entry of an outcome: when it was taken in, alongside the provider's time."""
    return entry(
        held.case, at, kind, reason=outcome.reason, task_id=outcome.task_id, step=outcome.step, sequence=outcome.sequence, at=outcome.at,
        channel=outcome.channel, provider=outcome.provider, until=outcome.until, loans=outcome.loans, rules=outcome.rules,
        **({"final": True} if outcome.final else {}),
    )  # fmt: skip


def _news(facts: Iterable[tuple[tuple[str, str, str], Fact]], homes: Mapping[tuple[str, str, str], debts.Home]) -> list[News]:
    """Return what is new, each fact with its debt's case."""
    found = ((fact, homes[debt]) for debt, fact in facts if debt in homes)
    return [News(fact, fact.case_of(home.case_loan), None if home.left is None else fact.case_of(home.left)) for fact, home in found]


def _fact_entries(held: Held, new: News, at: datetime) -> list[story.Entry]:
    """Return a case's timeline entries for a fact: its content, and whether the debt came from or went to another case."""
    if new.left is None:
        return [_fact_entry(held, new.fact, at)]
    moved = entry(held.case, at, "case.debt_moved", loan_id=new.fact.fact.loan_id, **{"from": new.left.case_id, "to": new.case.case_id})
    return [moved] if held.key == new.left else [moved, _fact_entry(held, new.fact, at)]


def _fact_entry(held: Held, fact: Fact, at: datetime) -> story.Entry:
    value = fact.fact
    told = FactTold(
        value.anchor, value.as_of, value.bucket, value.caused_by, value.epoch, value.doubt is not None, value.loan_id,
        value.outstanding.total, value.overdue.total, value.resting_until, value.status, value.version,
    )  # fmt: skip
    case = held.case
    return story.Entry(
        case.tenant, case.borrower_id, case.case_id, at, fact.envelope.type.removesuffix(".v1"), value.reason, _encode(told)
    )  # fmt: skip


def _status_entry(held: Held, row: statuses.StatusRow, at: datetime) -> story.Entry:
    return entry(
        held.case,
        at,
        "borrower.status",
        reason=row.kind,
        status_id=row.status_id,
        stands=row.stands,
        until=row.until,
        **{"from": row.from_at},
    )


async def _raise_watermarks(conn: AsyncConnection, topic: str, marks: Sequence[tuple[int, DebtWatermark]]) -> None:
    last: dict[int, DebtWatermark] = {}
    for partition, mark in marks:
        if partition not in last or mark.until > last[partition].until:
            last[partition] = mark
    if last:
        await debts.raise_watermarks(conn, topic, last)
