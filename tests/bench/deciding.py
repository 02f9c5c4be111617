"""Decisions of the gate, one after the other in this process: real packs, with earlier contacts that count towards their caps."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from libs.compliance import (
    Allow,
    Channel,
    Circumstances,
    DebtFacts,
    Packs,
    Preferences,
    Prior,
    Profile,
    Proposed,
    Purpose,
    Role,
    decide,
    load_packs,
)
from tests.bench.ingest import require
from tests.bench.measuring import Measured, Stopwatch, spread, whole

PLACES: Mapping[str, str] = {
    "CN": "Asia/Shanghai", "KR": "Asia/Seoul", "CL": "America/Santiago", "TH": "Asia/Bangkok", "US-MA": "America/New_York",
}  # fmt: skip
"""Places with hours, caps per person, debt and claim, and a minimum number of days between two messages."""
PRIORS = (0, 20, 100)
"""How many contacts of the last weeks each borrower's ledger holds."""
CHANNELS = (Channel.SMS, Channel.EMAIL, Channel.CALL)
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def run(decisions: int, rounds: int) -> list[str]:
    """Make so many decisions for each number of earlier contacts, and return the figures."""
    packs = load_packs()
    lines = []
    for priors in PRIORS:
        found = [_round(packs, decisions, priors) for _ in range(rounds)]
        micros = spread([m.seconds * 1e6 / m.items for m in found], whole)
        lines.append(
            f"  {priors:>3} earlier contacts  {spread([m.rate for m in found], whole)} decisions/s, {micros} us each; {found[-1].said}"
        )
    return lines


def _round(packs: Packs, decisions: int, priors: int) -> Measured:
    questions = [_question(number, priors) for number in range(decisions)]
    watch = Stopwatch({"gate": os.getpid()}, alone=[os.getpid()])
    answers = Counter(isinstance(decide(proposed, circumstances, packs), Allow) for proposed, circumstances in questions)
    result = watch.stop(decisions, f"{answers[True] / decisions:.0%} allowed")
    require("both answers", set(answers), {True, False})
    return result


def _question(number: int, priors: int) -> tuple[Proposed, Circumstances]:
    """Return a question at any hour of a week, about a borrower in one of the places."""
    place, zone = list(PLACES.items())[number % len(PLACES)]
    at, debt = MONDAY + timedelta(minutes=7 * number % 10_080), f"loan-{number}"
    made = tuple(
        Prior(at - timedelta(hours=9 * n), CHANNELS[n % 3], "delivered", (debt,), "dunwell", kind="dunning")
        for n in range(9, 9 + priors)
    )  # fmt: skip
    circumstances = Circumstances(
        jurisdictions=(place,), zones=(zone,), profile=Profile.STRICT, role=Role.FIRST_PARTY, consents=frozenset({Channel.SMS}), stops=(),
        tenant_hours=None, preferences=Preferences(), prior=made,
        debt_facts={debt: DebtFacts(past_due_days=20, principal=12_050, product="cash-loan", due_on=date(2026, 11, 1))},
    )  # fmt: skip
    return Proposed(at, Channel.SMS, Purpose.DUNNING, (debt,), to=f"number-{number}"), circumstances
