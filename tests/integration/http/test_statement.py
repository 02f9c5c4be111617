"""A loan's statement over HTTP: three forms of the same lines, on any day, as known at any moment."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from tests.integration.http.asking import assert_problem, send
from tests.support.postgres import Databases
from tests.support.running import Running, add_key, bearer, running_ingest
from tests.support.wallet import NOON, TODAY, Event, event, instalment, loan, repayment

SAME = (
    "borrower_id", "product", "currency", "timezone", "jurisdictions", "status", "as_of", "outstanding", "overdue", "credit", "grace_days",
    "anchor", "past_due_days", "delinquent_from", "paused_days", "delinquent_days", "bucket", "aged", "next_due", "pauses", "ignored",
    "dpd_original_from", "version", "events", "doubt", "charges", "loan_id",
)  # fmt: skip


def told(name: str, /, **data: Any) -> Event:
    return event(name, loan_id="L1", **data)


def day(days: int) -> str:
    return (TODAY + timedelta(days=days)).isoformat()


def moment(days: int) -> str:
    return (NOON + timedelta(days=days)).isoformat()


def eventful() -> list[Event]:
    """A loan to which most has happened."""
    first, taken_back = repayment("L1", 13_000, -25), repayment("L1", 4000, -12)
    again = [instalment(1, -40, interest=1000), instalment(2, -5, interest=1000), instalment(3, 25, interest=1000)]
    return [
        loan("L1"),
        first,
        told("charge.added", charge_id="c1", kind="penalty", amount=700, due_on=day(-9)),
        taken_back,
        told("charge.waived", waiver_id="w1", charge_id="c1", amount=200),
        told("repayment.reversed", repayment_id=taken_back["data"]["repayment_id"]),
        told("repayment.charged_back", chargeback_id="cb", repayment_id=first["data"]["repayment_id"], amount=500, at=moment(-8)),
        told("loan.rescheduled", version=1, schedule=again, effect="from_date", effective_on=day(-6)),
        repayment("L1", 40_000, -2),
        told("credit.refunded", refund_id="rf", amount=100, at=moment(-1)),
        told("loan.written_off", on=day(3)),
    ]


def summed(amounts: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(one[name] for one in amounts) for name in ("principal", "interest", "fee", "penalty", "total")}


async def test_on_every_day_the_statement_says_what_the_loan_says(ingest: Running) -> None:
    await ingest.post(*eventful())
    seen = set()
    for days in range(-75, 8):
        state = await ingest.get("/v1/loans/L1", as_of=day(days))
        said = await ingest.get("/v1/loans/L1/statement", as_of=day(days))
        assert {name: said[name] for name in SAME} == {name: state[name] for name in SAME}
        assert summed([one["outstanding"] for one in said["instalments"]]) == state["outstanding"]
        assert summed([one["overdue"] for one in said["instalments"]]) == state["overdue"]
        assert [(one["n"], one["due"], one["paid"]["total"]) for one in said["instalments"]] == [
            (one["n"], one["due"], one["paid"]["total"]) for one in state["schedule"]
        ]
        last = said["entries"][-1]
        assert (last["outstanding"], last["credit"]) == (state["outstanding"]["total"], state["credit"])
        seen.add(json.dumps(said["entries"]))
    assert len(seen) == 9


async def test_the_lines_say_which_payment_paid_which_component_of_which_instalment(ingest: Running) -> None:
    paid = repayment("L1", 13_000, -25)
    await ingest.post(loan("L1"), paid, told("charge.added", charge_id="c1", kind="penalty", amount=700, due_on=day(-9)))
    said = await ingest.get("/v1/loans/L1/statement")
    assert [(one["kind"], one["number"], one["on"], one["event"]["id"]) for one in said["entries"]][1] == (
        "repayment", 8, day(-25), paid["id"],
    )  # fmt: skip
    assert [(line["number"], line["n"], line["component"], line["side"], line["amount"]) for line in said["entries"][1]["lines"]] == [
        (9, 1, "principal", "paid", 9000), (10, 1, "interest", "paid", 1000),
        (11, 2, "principal", "paid", 2000), (12, 2, "interest", "paid", 1000),
    ]  # fmt: skip
    assert {line["by"] for line in said["entries"][1]["lines"]} == {paid["data"]["repayment_id"]}
    [charged] = said["entries"][2]["lines"]
    assert (charged["charge_id"], charged["component"], charged["side"], charged["balance"]) == ("c1", "penalty", "due", 17_700)


async def test_a_statement_as_it_was_known_then_knows_nothing_of_what_came_later(ingest: Running) -> None:
    await ingest.post(loan("L1"))
    known = ingest.clock.now().isoformat()
    ingest.clock.advance(timedelta(days=1))
    await ingest.post(repayment("L1", 13_000, -25))
    then = await ingest.get("/v1/loans/L1/statement", known_at=known, as_of=day(0))
    assert (then["overdue"]["total"], len(then["entries"]), then["events"]) == (20_000, 1, 1)
    now = await ingest.get("/v1/loans/L1/statement", as_of=day(0))
    assert (now["overdue"]["total"], len(now["entries"]), now["events"]) == (7000, 2, 2)


async def test_csv_is_a_file_with_the_same_lines(ingest: Running) -> None:
    await ingest.post(*eventful())
    said = await ingest.get("/v1/loans/L1/statement", as_of=day(0))
    answer = await ingest.client.get("/v1/loans/L1/statement", params={"as_of": day(0), "format": "csv"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == 'attachment; filename="statement-L1-2026-11-20.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    lines = [line for one in said["entries"] for line in one["lines"]]
    assert [(row["number"], row["component"], row["side"], row["amount"], row["balance"]) for row in rows if row["row"] == "line"] == [
        (str(line["number"]), line["component"], line["side"], str(line["amount"]), str(line["balance"])) for line in lines
    ]
    assert {(row["loan_id"], row["currency"], row["as_of"]) for row in rows} == {("L1", "CNY", day(0))}
    known = await ingest.client.get("/v1/loans/L1/statement", params={"known_at": "2027-01-01T00:00:00Z", "format": "csv"})
    assert 'filename="statement-L1-2026-11-20-known-20270101T000000Z.csv"' in known.headers["content-disposition"]


async def test_ids_that_a_spreadsheet_would_run_are_text_in_csv(ingest: Running) -> None:
    await ingest.post(loan("-L:1", borrower_id="-b"), repayment("-L:1", 100, -3, event_id="-e"))
    answer = await ingest.client.get("/v1/loans/-L:1/statement", params={"format": "csv"})
    assert 'filename="statement--L_1-2026-11-20.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert {row["loan_id"] for row in rows} == {"'-L:1"}
    assert "'-e" in {row["event_id"] for row in rows}


async def test_the_page_stands_alone_and_shows_hostile_text_as_text(ingest: Running) -> None:
    hostile = "<script>alert(1)</script>"
    buckets = {"bounds": [{"name": hostile, "up_to": None}]}
    assert (await ingest.client.put("/v1/products/cash-loan", json={"buckets": buckets})).status_code == 200
    await ingest.post(loan("L1"), repayment("L1", 500, -3))
    assert (await ingest.get("/v1/loans/L1/statement"))["bucket"] == hostile
    answer = await ingest.client.get("/v1/loans/L1/statement", params={"format": "html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert "http://" not in answer.text
    assert "https://" not in answer.text


async def test_a_statement_is_kept_by_no_cache(ingest: Running) -> None:
    await ingest.post(loan("L1"))
    for form in ("json", "html", "csv"):
        answer = await ingest.client.get("/v1/loans/L1/statement", params={"format": form})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


async def test_an_unknown_loan_is_not_found_in_any_form(ingest: Running) -> None:
    stub = repayment("stub", 100)
    await send(ingest, stub)
    for name in ("nobody", "stub"):
        for form in ("json", "html", "csv"):
            assert_problem(await ingest.client.get(f"/v1/loans/{name}/statement", params={"format": form}), 404, "not_found")


async def test_a_bad_date_or_form_is_a_problem(ingest: Running) -> None:
    await ingest.post(loan("L1"))
    for asked in ({"as_of": "20-11-2026"}, {"as_of": "2026-13-01"}, {"as_of": "1969-12-31"}, {"as_of": "1700000000"}, {"format": "pdf"},
                  {"format": ""}, {"known_at": "2026-11-20T10:00:00"}):  # fmt: skip
        assert_problem(await ingest.client.get("/v1/loans/L1/statement", params=asked), 422, "invalid_request")


async def test_a_loan_that_the_ledger_cannot_digest_has_no_statement(ingest: Running) -> None:
    waivers = [told("charge.waived", waiver_id=f"w{n}", n=1, component="interest") for n in range(100)]
    paid = repayment("L1", 100)
    await ingest.post(loan("L1"), paid, *waivers)
    one_too_many = "update ingest.events e set type = w.type, data = w.data from ingest.events w where (e.event_id, w.event_id) = (:e, :w)"
    async with ingest.engine.begin() as conn:
        await conn.execute(text(one_too_many), {"e": paid["id"], "w": waivers[0]["id"]})
    for form in ("json", "html", "csv"):
        assert_problem(await ingest.client.get("/v1/loans/L1/statement", params={"format": form}), 409, "in_doubt")


async def test_a_statement_is_for_those_who_may_read_loans_and_only_of_their_tenant(databases: Databases) -> None:
    async with databases.fresh("ingest") as engine, running_ingest(engine, tenants=("west", "east")) as (running, _):
        await add_key(engine, "ingest", "east", "east-key")
        await running.post(loan("L1"))
        statement = "/v1/loans/L1/statement"
        assert (await running.client.get(statement)).status_code == 200
        assert_problem(await running.client.get(statement, headers=bearer("east-key")), 404, "not_found")
        assert (await running.client.get(statement, headers=bearer("nobody"))).status_code == 401
