"""The overdue report: the same lines as the loans themselves, on any day, as known at any moment, in every format, out of one snapshot."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.errors import DomainError
from services.ingest.report_forms import CsvForm, Form, JsonForm
from services.ingest.report_parquet import ParquetForm
from services.ingest.reporting import Asked, Head, Line, Totals
from services.ingest.routes.report import AT_ONCE, ReportCutError, Reporter
from services.ingest.store.products import ProductBook
from tests.integration.http.asking import assert_problem, listening
from tests.support.running import Running, until
from tests.support.wallet import NOON, TODAY, Event, event, instalment, loan, repayment

REPORT = "/v1/overdue-report"
SUMS = ("overdue_principal", "overdue_interest", "overdue_fee", "overdue_penalty", "overdue", "outstanding")
LATE_RULES = {
    "grace_days": 3,
    "buckets": {"by": "delinquent_days", "none": "none", "bounds": [{"name": "=new", "up_to": 30}, {"name": "old", "up_to": None}]},
}


def back(days: int) -> date:
    return TODAY - timedelta(days=days)


def told(name: str, loan_id: str, /, **data: Any) -> Event:
    return event(name, loan_id=loan_id, **data)


async def post_a_book(running: Running) -> list[str]:
    """A book in which much has changed afterwards, told in four parts with a day between them; return its loans."""
    await running.client.put("/v1/products/late-loan", json=LATE_RULES)
    loans = [
        loan("paid"),
        loan("part"),
        loan("east", timezone="Pacific/Kiritimati"),
        loan("west", instalment(1, -1), timezone="Pacific/Pago_Pago", currency="USD"),
        loan("late", product="late-loan"),
        loan("rested", product="late-loan"),
        loan("yen", instalment(1, -5, 7), currency="JPY", product="card"),
        loan("old", instalment(1, -200, 90_000)),
        loan("ahead", instalment(1, 5, 100)),
        *[loan(name) for name in ("charged", "taken-back", "moved", "given-up", "never", "doubted", "undone")],
    ]
    await running.post(*loans)
    running.clock.advance(timedelta(days=1))
    money, undone = repayment("taken-back", 20_000, -20), repayment("undone", 9000, -15)
    await running.post(
        repayment("paid", 30_000, -3),
        repayment("part", 4000, -12),
        told("charge.added", "charged", charge_id="c1", kind="fee", amount=500, due_on=back(7).isoformat()),
        told("loan.paused", "rested", **{"from": back(20).isoformat(), "until": back(6).isoformat()}),
        told("loan.written_off", "given-up", on=back(2).isoformat()),
        money,
        undone,
    )
    running.clock.advance(timedelta(days=1))
    again = [instalment(1, -8, 15_000), instalment(2, 30, 15_000)]
    paid_id = money["data"]["repayment_id"]
    [of_never] = [one["id"] for one in loans if one["subject"] == "never"]
    await running.post(
        told(
            "repayment.charged_back",
            "taken-back",
            chargeback_id="cb",
            repayment_id=paid_id,
            amount=20_000,
            at=(NOON - timedelta(days=4)).isoformat(),
        ),
        told("loan.rescheduled", "moved", version=1, schedule=again, effect="from_start"),
        told("charge.waived", "charged", waiver_id="w1", charge_id="c1"),
        {**told("event.retracted", "never"), "data": {"loan_id": "never", "event_id": of_never}},
        {**loans[0], "id": "second", "subject": "doubted", "data": {**loans[0]["data"], "loan_id": "doubted", "currency": "EUR"}},
        {**undone, "data": {**undone["data"], "amount": 1}},
    )
    running.clock.advance(timedelta(days=1))
    await running.post(told("repayment.reversed", "undone", repayment_id=undone["data"]["repayment_id"]), repayment("old", 89_999, -100))
    return [one["subject"] for one in loans]


def of_state(state: dict[str, Any]) -> dict[str, Any]:
    """The line that a loan's state gives."""
    parts = {f"overdue_{name}": state["overdue"][name] for name in ("principal", "interest", "fee", "penalty")}
    same = (
        "loan_id", "borrower_id", "product", "currency", "timezone", "as_of", "status", "delinquent_from", "past_due_days", "paused_days",
        "delinquent_days", "bucket", "aged",
    )  # fmt: skip
    return {
        **{name: state[name] for name in same}, **parts, "anchor_n": state["anchor"]["n"], "anchor_due_on": state["anchor"]["due_on"],
        "overdue": state["overdue"]["total"], "outstanding": state["outstanding"]["total"], "in_doubt": state["doubt"] is not None,
    }  # fmt: skip


async def of_loans(running: Running, loans: list[str], **when: str) -> list[dict[str, Any]]:
    """The lines that the loans' own states give."""
    answers = [await running.client.get(f"/v1/loans/{name}", params=when) for name in sorted(loans)]
    states = [answer.json() for answer in answers if answer.status_code == 200]
    return [of_state(state) for state in states if state["overdue"]["total"]]


def summed(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for one in items:
        key = one["bucket"], one["currency"]
        total = sums.setdefault(key, {"bucket": key[0], "currency": key[1], "loans": 0, **dict.fromkeys(SUMS, 0)})
        total["loans"] += 1
        for name in SUMS:
            total[name] += one[name]
    return [sums[key] for key in sorted(sums)]


async def test_on_any_day_as_known_at_any_moment_the_report_is_what_the_loans_say(ingest: Running) -> None:
    names = await post_a_book(ingest)
    now = ingest.clock.now()
    seen = defaultdict(set)
    for day in (None, *(TODAY + timedelta(days=days) for days in (-300, -41, -39, -14, -8, -3, -1, 0, 1, 3, 4, 25, 60))):
        for known in (None, NOON - timedelta(days=1), NOON, NOON + timedelta(days=1), NOON + timedelta(days=2, hours=3), now):
            when = {**({"as_of": day.isoformat()} if day else {}), **({"known_at": known.isoformat()} if known else {})}
            report = await ingest.get(REPORT, **when)
            assert report["items"] == await of_loans(ingest, names, **when), when
            assert report["totals"] == summed(report["items"]), when
            assert (report["as_of"], report["undigested"]) == (when.get("as_of"), 0)
            seen[known].add(json.dumps(report["items"]))
    assert len(seen[None]) > 8
    assert all(len(seen[known]) > 4 for known in seen if known != NOON - timedelta(days=1))
    assert len({json.dumps((await ingest.get(REPORT, known_at=known.isoformat()))["items"]) for known in seen if known}) == 5


async def test_today_and_now_are_what_is_said_without_them(ingest: Running) -> None:
    await ingest.post(*[loan(f"L{n}", instalment(1, n - 4, 100 + n)) for n in range(9)], repayment("L1", 50, -1))
    plain = await ingest.get(REPORT)
    assert [one["loan_id"] for one in plain["items"]] == ["L0", "L1", "L2", "L3"]
    now = ingest.clock.now().isoformat()
    for when in ({"as_of": TODAY.isoformat()}, {"known_at": now}, {"as_of": TODAY.isoformat(), "known_at": now}):
        report = await ingest.get(REPORT, **when)
        assert (report["items"], report["totals"]) == (plain["items"], plain["totals"])


async def test_a_midnight_that_no_timer_has_seen_yet_is_in_the_report(ingest: Running) -> None:
    await ingest.post(loan("falls-due", instalment(1, 0)), loan("ages", instalment(1, -30)), loan("later", instalment(1, 9)))
    assert [(one["loan_id"], one["bucket"]) for one in (await ingest.get(REPORT))["items"]] == [("ages", "M1")]
    ingest.clock.advance(timedelta(days=1))
    report = await ingest.get(REPORT)
    assert [(one["loan_id"], one["bucket"], one["past_due_days"]) for one in report["items"]] == [
        ("ages", "M2", 31),
        ("falls-due", "M1", 1),
    ]
    assert report["items"] == await of_loans(ingest, ["ages", "falls-due", "later"])


async def test_the_report_can_be_asked_for_one_bucket_or_product(ingest: Running) -> None:
    await post_a_book(ingest)
    for when in ({}, {"as_of": back(9).isoformat()}, {"known_at": NOON.isoformat()}):
        whole = (await ingest.get(REPORT, **when))["items"]
        for name in ("bucket", "product"):
            for value in {one[name] for one in whole}:
                part = await ingest.get(REPORT, **when, **{name: value})
                assert part["items"] == [one for one in whole if one[name] == value]
                assert part["totals"] == summed(part["items"])
        nothing = await ingest.get(REPORT, **when, product="nothing")
        assert (nothing["items"], nothing["totals"]) == ([], [])


async def test_csv_has_the_same_lines_and_totals_and_no_formula(ingest: Running) -> None:
    await post_a_book(ingest)
    said = await ingest.get(REPORT)
    answer = await ingest.client.get(REPORT, params={"format": "csv"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == 'attachment; filename="overdue-2026-11-23.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))

    def cell(value: object) -> str:
        plain = value if isinstance(value, str) else "" if value is None else json.dumps(value, separators=(",", ":"))
        return f"'{plain}" if plain.startswith("=") else plain

    assert [row["kind"] for row in rows] == ["loan"] * len(said["items"]) + ["total"] * len(said["totals"])
    for row, one in zip(rows, [*said["items"], *said["totals"]], strict=True):
        assert {name: cell(value) for name, value in one.items()}.items() <= row.items()
    assert "'=new" in {row["bucket"] for row in rows}
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


async def test_parquet_has_the_same_lines_typed_and_the_totals_in_its_footer(ingest: Running) -> None:
    await post_a_book(ingest)
    when = {"as_of": back(1).isoformat(), "known_at": (NOON + timedelta(days=1)).isoformat()}
    said = await ingest.get(REPORT, **when)
    answer = await ingest.client.get(REPORT, params={**when, "format": "parquet"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.apache.parquet")
    assert answer.headers["content-disposition"] == 'attachment; filename="overdue-2026-11-19-known-20261121T120000Z.parquet"'
    table = pq.read_table(pa.BufferReader(answer.content))
    assert json.loads(json.dumps(table.to_pylist(), default=str)) == said["items"]
    assert {str(table.schema.field(name).type) for name in SUMS} == {"int64"}
    assert {str(table.schema.field(name).type) for name in ("as_of", "anchor_due_on", "delinquent_from")} == {"date32[day]"}
    footer = pq.read_metadata(pa.BufferReader(answer.content)).metadata
    assert json.loads(footer[b"dunwell.totals"]) == said["totals"]
    assert datetime.fromisoformat(footer[b"dunwell.known_at"].decode()) == datetime.fromisoformat(said["known_at"])
    assert (footer[b"dunwell.as_of"].decode(), footer[b"dunwell.undigested"]) == (said["as_of"], b"0")


async def test_an_empty_report_is_whole_in_every_format(ingest: Running) -> None:
    assert (await ingest.get(REPORT))["items"] == []
    answers = {form: await ingest.client.get(REPORT, params={"format": form}) for form in ("csv", "parquet")}
    assert answers["csv"].text.startswith("kind,loan_id,borrower_id,")
    assert answers["csv"].text.count("\n") == 1
    assert pq.read_table(pa.BufferReader(answers["parquet"].content)).num_rows == 0


async def test_a_loan_that_the_ledger_cannot_digest_is_counted_and_stops_nothing(ingest: Running) -> None:
    await ingest.post(*[loan(f"L{n}") for n in range(3)])
    async with ingest.engine.begin() as conn:
        await conn.execute(text("update ingest.events set data = '{}' where loan_id = 'L1'"))
        await conn.execute(text("update ingest.loans set fold = 0 where loan_id = 'L1'"))
    for when in ({}, {"as_of": TODAY.isoformat()}, {"known_at": ingest.clock.now().isoformat()}):
        report = await ingest.get(REPORT, **when)
        assert ([one["loan_id"] for one in report["items"]], report["undigested"]) == (["L0", "L2"], 1)
    rows = list(csv.DictReader(io.StringIO((await ingest.client.get(REPORT, params={"format": "csv"})).text)))
    assert (rows[-1]["kind"], rows[-1]["loans"]) == ("undigested", "1")


@pytest.mark.parametrize(
    "query",
    [
        {"format": "xml"},
        {"as_of": "2026-02-30"},
        {"as_of": "1763596800"},
        {"as_of": "1969-12-31"},
        {"as_of": "2200-01-01"},
        {"known_at": "2026-11-20T12:00:00"},
        {"known_at": "yesterday"},
    ],
)
async def test_a_question_that_makes_no_sense_is_a_problem(ingest: Running, query: dict[str, str]) -> None:
    assert_problem(await ingest.client.get(REPORT, params=query), 422, "invalid_request")


# Streaming


async def multiply(engine: AsyncEngine, times: int) -> None:
    """Make copies of the loan `L` and of its events."""
    async with engine.begin() as conn:
        for table in ("loans", "events"):
            found = await conn.execute(
                text("select column_name from information_schema.columns where table_schema = 'ingest' and table_name = :table"),
                {"table": table},
            )
            columns = [name for (name,) in found.all() if name != "loan_id"]
            await conn.execute(
                text(
                    f"insert into ingest.{table} (loan_id, {', '.join(columns)}) select 'L' || lpad(n::text, 7, '0'), {', '.join(columns)}"
                    f" from ingest.{table}, generate_series(1, :times) n where loan_id = 'L'"
                ),
                {"times": times},
            )


async def open_snapshots(engine: AsyncEngine) -> int:
    async with engine.connect() as conn:
        counted = await conn.execute(
            text(
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()"
                " and backend_type = 'client backend'"
            )
        )
        return int(counted.scalar_one())


async def drained(stream: AsyncIterator[bytes]) -> int:
    return sum([len(piece) async for piece in stream])


@pytest.fixture
async def many(ingest: Running) -> Running:
    """Three thousand loans that are overdue: several pages."""
    await ingest.post(loan("L"), repayment("L", 1000, -20), repayment("L", 500, -15))
    await multiply(ingest.engine, 2999)
    return ingest


async def test_a_report_is_one_snapshot_however_long_it_is_read(many: Running) -> None:
    stream = Reporter(many.engine, many.clock, ProductBook()).stream(Asked("default"), JsonForm())
    begun = [await anext(stream), await anext(stream)]
    await many.post(repayment("L0002998", 30_000, 0), loan("new"))
    report = json.loads(b"".join([*begun, *[piece async for piece in stream]]))
    assert [total["loans"] for total in report["totals"]] == [3000]
    assert {one["overdue"] for one in report["items"]} == {18_500}
    after = await many.get(REPORT)
    assert [total["loans"] for total in after["totals"]] == [3000]
    assert (after["items"][-1]["loan_id"], len(after["items"])) == ("new", 3000)


async def test_whoever_reads_too_slowly_loses_the_report_and_its_snapshot(many: Running) -> None:
    reporter = Reporter(many.engine, many.clock, ProductBook(), reader_s=0)
    with pytest.raises(ReportCutError):
        await drained(reporter.stream(Asked("default"), JsonForm()))
    assert (await open_snapshots(many.engine), reporter.running) == (0, 0)


async def test_the_snapshot_goes_with_the_reader_who_goes_away(many: Running) -> None:
    await multiply_to_more_than_sockets_hold(many)
    async with listening(many) as client:
        for form in ("json", "csv"):
            async with client.stream("GET", REPORT, params={"format": form, "as_of": TODAY.isoformat()}) as answer:
                assert answer.status_code == 200
                await anext(answer.aiter_raw())
                await until(lambda: open_snapshots(many.engine), what="the snapshot of a report that nobody reads on")

            async def none_is_open() -> bool:
                return await open_snapshots(many.engine) == 0

            await until(none_is_open, what="the end of the snapshot")
        assert (await client.get(REPORT, params={"bucket": "none"})).status_code == 200


async def multiply_to_more_than_sockets_hold(running: Running) -> None:
    async with running.engine.begin() as conn:
        await conn.execute(text("delete from ingest.events where loan_id <> 'L'"))
        await conn.execute(text("delete from ingest.loans where loan_id <> 'L'"))
    await multiply(running.engine, 40_000)


async def test_more_reports_than_leave_connections_for_the_intake_are_asked_to_come_again(many: Running) -> None:
    reporter = Reporter(many.engine, many.clock, ProductBook())
    under_way = [reporter.stream(Asked("default"), JsonForm()) for _ in range(AT_ONCE)]
    for stream in under_way:
        await anext(stream)
    with pytest.raises(DomainError) as refused:
        await anext(reporter.stream(Asked("default"), JsonForm()))
    assert (refused.value.status, refused.value.code) == (429, "too_many_reports")
    for stream in under_way:
        await stream.aclose()
    assert await drained(reporter.stream(Asked("default"), JsonForm())) > 0


FORMS: dict[str, Callable[[], Form]] = {"json": JsonForm, "csv": CsvForm, "parquet": lambda: ParquetForm(row_group=1000)}


@dataclass
class Weighed:
    """A form, and the most that the library behind it has held at a time, which Python's own count does not see."""

    form: Form
    most: int = 0

    def begin(self, head: Head) -> bytes:
        return self.form.begin(head)

    def add(self, lines: Sequence[Line]) -> bytes:
        piece = self.form.add(lines)
        self.most = max(self.most, pa.total_allocated_bytes())
        return piece

    def end(self, totals: Totals) -> bytes:
        return self.form.end(totals)


async def peak_of(running: Running, asked: Asked, form: Form) -> tuple[int, int]:
    """The most memory that a report has held at a time: Python's and the library's."""
    weighed = Weighed(form)
    tracemalloc.start()
    await drained(Reporter(running.engine, running.clock, ProductBook()).stream(asked, weighed))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak, weighed.most


FOLDED = Asked("default", known_at=datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(("form", "asked"), [*((form, Asked("default")) for form in FORMS), ("json", FOLDED)], ids=[*FORMS, "folded"])
async def test_a_report_twice_as_long_needs_no_more_memory(many: Running, form: str, asked: Asked) -> None:
    short = await peak_of(many, asked, FORMS[form]())
    async with many.engine.begin() as conn:
        for table in ("loans", "events"):
            await conn.execute(text(f"update ingest.{table} set loan_id = 'K' || loan_id where loan_id <> 'L'"))
    await multiply(many.engine, 3000)
    long = await peak_of(many, asked, FORMS[form]())
    # what the driver has read ahead differs by a fifth from run to run; what is held whole would be twice as much
    assert all(after <= 1.5 * before for after, before in zip(long, short, strict=True)), (short, long)
