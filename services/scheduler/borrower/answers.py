"""Handles a borrower's answers: preferences go to the notifier, and both kinds are published as case events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from libs.common.contracts.contact_tasks import PreferencesSet
from services.scheduler.borrower.wishes import GROUPS, Hours
from services.scheduler.casework import Work
from services.scheduler.domain.links import Link
from services.scheduler.store import answers
from services.scheduler.store.answers import AnswerRow

FEELINGS = ("good", "fair", "bad")


@dataclass(frozen=True, slots=True)
class Wishing:
    """Contact me only in these hours, and not over these groups of channels."""

    hours: Hours
    closed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Feeling:
    """How the borrower found this."""

    how: str


async def wish(work: Work, wishing: Wishing) -> None:
    """Tell the notifier; the same form sent twice does it once."""
    case, answer_id = work.case, work.new_id("w")
    never: tuple[Any, ...] = tuple(channel for group in wishing.closed for channel in GROUPS[group])
    wanted = PreferencesSet(
        preference_id=answer_id, borrower_id=case.borrower_id, case_id=case.case_id, at=work.at, no_contact=wishing.hours.quiet(),
        never=never,
    )  # fmt: skip
    said = msgspec.json.encode({"no_contact": wanted.no_contact, "never": wanted.never}).decode()
    row = AnswerRow(case.tenant, case.borrower_id, answer_id, case.case_id, case.spell, "wishes", said, work.at)
    if not await answers.put(work.conn, row):
        return
    work.out.messages.append(work.desk.task_message(case, "contact.preferences_set.v1", answer_id, work.at, data=wanted))
    told = {"answer_id": answer_id, "no_contact": msgspec.to_builtins(wanted.no_contact), "never": wanted.never, "by": work.by}
    work.desk.event(case, "case.preferences_set", work.at, work.out, **told)


async def feel(work: Work, link: Link, feeling: Feeling) -> None:
    """Record how this felt, each answer once per spell, with the step whose message led here."""
    case = work.case
    step, task_id = (link.step, link.task_id) if link.case_id == case.case_id else (None, None)
    row = AnswerRow(
        case.tenant, case.borrower_id, f"f-{case.case_id}-{case.spell}-{feeling.how}", case.case_id, case.spell, "feeling", feeling.how,
        work.at, step, task_id,
    )  # fmt: skip
    if await answers.put(work.conn, row):
        told = {"answer_id": row.answer_id, "step": step, "task_id": task_id, "by": work.by}
        work.desk.event(case, "case.feedback_given", work.at, work.out, reason=feeling.how, **told)
