"""What is known about locked borrowers, one statement for each kind; and the storing of facts and holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.contact_tasks import HoldEnded, HoldSet
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.db.arrays import column
from services.notifier.domain.known import Hold, Known, Status
from services.notifier.domain.preferences import Wishes
from services.notifier.store import suppressions
from services.notifier.store.borrowers import Borrower, Who, arrays, joined_arrays

_encode = msgspec.json.Encoder().encode
_fact = msgspec.json.Decoder(OverdueFact).decode
_wishes = msgspec.json.Decoder(Wishes).decode
_WHO = f"unnest({column('tenants')}, {column('borrowers')}) as w(tenant, borrower_id)"


async def keep_facts(conn: AsyncConnection, facts: Mapping[tuple[str, str, str], OverdueFact]) -> set[tuple[str, str, str]]:
    """Store the newer facts by (tenant, borrower, loan), and return which were newer."""
    ordered = sorted(facts.items(), key=lambda entry: entry[0])
    if not ordered:
        return set()
    rows = await conn.execute(
        text(
            "insert into notifier.facts as f (tenant, borrower_id, loan_id, epoch, version, as_of, fact)"
            " select * from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:loans as text[]), cast(:epochs as int[]),"
            " cast(:versions as bigint[]), cast(:days as date[]), cast(:facts as bytea[]))"
            " on conflict (tenant, borrower_id, loan_id) do update set epoch = excluded.epoch, version = excluded.version,"
            " as_of = excluded.as_of, fact = excluded.fact"
            " where (f.epoch, f.version, f.as_of) < (excluded.epoch, excluded.version, excluded.as_of)"
            " returning tenant, borrower_id, loan_id"
        ),
        {
            **arrays(key[:2] for key, _ in ordered),
            "loans": [key[2] for key, _ in ordered], "epochs": [fact.epoch for _, fact in ordered],
            "versions": [fact.version for _, fact in ordered], "days": [fact.as_of for _, fact in ordered],
            "facts": [_encode(fact) for _, fact in ordered],
        },
    )  # fmt: skip
    return {(row.tenant, row.borrower_id, row.loan_id) for row in rows}


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold as stored: set, ended, or both; `time` is when the scheduler says it was set."""

    tenant: str
    borrower_id: str
    hold_id: str
    case_id: str
    set: HoldSet | None
    time: datetime | None
    ended: HoldEnded | None


async def keep_holds(conn: AsyncConnection, holds: Sequence[HoldRow]) -> None:
    """Store holds, one row each; the later setting wins, and an end stays, in whichever order they come."""
    ordered = sorted(holds, key=lambda hold: (hold.tenant, hold.borrower_id, hold.hold_id))
    if not ordered:
        return
    newer = "excluded.time is not null and (h.time is null or h.time < excluded.time)"
    kept = ", ".join(f"{column} = case when {newer} then excluded.{column} else h.{column} end" for column in _SETTING)
    await conn.execute(
        text(
            "insert into notifier.holds as h (tenant, borrower_id, hold_id, case_id, stop, contacts, since, until, loan_id, channel, time,"
            " ended_at)"
            " select * from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:holds as text[]), cast(:cases as text[]),"
            " cast(:stops as text[]), cast(:contacts as text[]), cast(:sinces as timestamptz[]), cast(:untils as timestamptz[]),"
            " cast(:loans as text[]), cast(:channels as text[]), cast(:times as timestamptz[]), cast(:ends as timestamptz[]))"
            f" on conflict (tenant, borrower_id, hold_id) do update set {kept}, ended_at = coalesce(h.ended_at, excluded.ended_at)"
        ),
        {
            **arrays((hold.tenant, hold.borrower_id) for hold in ordered),
            "holds": [hold.hold_id for hold in ordered], "cases": [hold.case_id for hold in ordered],
            "stops": [hold.set.stop if hold.set else None for hold in ordered],
            "contacts": [hold.set.contacts if hold.set else None for hold in ordered],
            "sinces": [hold.set.from_ if hold.set else None for hold in ordered],
            "untils": [hold.set.until if hold.set else None for hold in ordered],
            "loans": [hold.set.loan_id if hold.set else None for hold in ordered],
            "channels": [hold.set.channel if hold.set else None for hold in ordered],
            "times": [hold.time for hold in ordered], "ends": [hold.ended.at if hold.ended else None for hold in ordered],
        },
    )  # fmt: skip


_SETTING = ("stop", "contacts", "since", "until", "loan_id", "channel", "time")


async def known_of(conn: AsyncConnection, borrowers: Mapping[Who, Borrower]) -> dict[Who, Known]:
    """Return everything known about these borrowers, whose rows are locked."""
    facts = _grouped(await _rows(conn, borrowers, "select w.tenant, w.borrower_id, f.fact", "facts f"))
    consents = _grouped(await _rows(conn, borrowers, "select w.tenant, w.borrower_id, c.channel, c.purpose, c.at, c.granted", "consents c"))
    statuses = _grouped(
        await _rows(
            conn, borrowers, "select w.tenant, w.borrower_id, s.status, s.since, s.until", "statuses s", where="where s.status is not null"
        )
    )
    holds = _grouped(
        await _rows(
            conn, borrowers, "select w.tenant, w.borrower_id, h.stop, h.contacts, h.since, h.until, h.loan_id, h.channel",
            "holds h",
            where="where h.stop is not null and h.ended_at is null",
        )
    )  # fmt: skip
    suppressed = await suppressions.standing(conn, borrowers)
    wishes = _grouped(
        await _rows(
            conn, borrowers, "select distinct on (w.tenant, w.borrower_id) w.tenant, w.borrower_id, p.wishes", "preferences p",
            where="order by w.tenant, w.borrower_id, p.version desc",
        )
    )  # fmt: skip
    return {
        who: Known(
            profile=borrower.profile,
            erased=borrower.erased,
            facts={fact.loan_id: fact for fact in (_fact(row.fact) for row in facts.get(who, ()))},
            consents=frozenset((row.channel, row.purpose) for row in consents.get(who, ()) if row.granted),
            consented_at={(row.channel, row.purpose): row.at for row in consents.get(who, ()) if row.granted},
            withdrawn=frozenset((row.channel, row.purpose) for row in consents.get(who, ()) if not row.granted and row.at is not None),
            statuses=tuple(Status(row.status, row.since, row.until) for row in statuses.get(who, ())),
            suppressions=suppressed.get(who, ()),
            wishes=next((_wishes(row.wishes) for row in wishes.get(who, ())), None),
            holds=tuple(Hold(row.stop, row.contacts, row.since, row.until, row.loan_id, row.channel) for row in holds.get(who, ())),
        )
        for who, borrower in borrowers.items()
    }


async def _rows(
    conn: AsyncConnection, who: Iterable[Who], select: str, table: str, *, where: str = ""
) -> Sequence[Row[tuple[object, ...]]]:
    statement = f"{select} from {_WHO} join notifier.{table} using (tenant, borrower_id) {where}"
    return (await conn.execute(text(statement), joined_arrays(who))).all()


def _grouped(rows: Sequence[Row[tuple[object, ...]]]) -> dict[Who, list[Row[tuple[object, ...]]]]:
    grouped: dict[Who, list[Row[tuple[object, ...]]]] = {}
    for row in rows:
        grouped.setdefault((row.tenant, row.borrower_id), []).append(row)
    return grouped
