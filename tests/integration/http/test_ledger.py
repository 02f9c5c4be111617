"""What the ledger answers over HTTP: tenants apart, product versions, parked events in pages, an ingest that cannot."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.http.asking import BATCH, ONE, assert_problem, send, state_of
from tests.support.postgres import Databases
from tests.support.running import Running, add_key, bearer, running_ingest
from tests.support.wallet import TODAY, event, instalment, loan, repayment


async def test_a_tenant_never_sees_the_loans_of_another_even_under_the_same_ids(databases: Databases) -> None:
    async with databases.fresh("ingest") as engine, running_ingest(engine, tenants=("west", "east")) as (running, _):
        await add_key(engine, "ingest", "east", "east-key")
        ours, theirs = loan("L1", event_id="e1", borrower_id="B1"), loan("L1", instalment(1, -5, 700), event_id="e1", borrower_id="B1")
        only = loan("L2", borrower_id="B1")
        paid = repayment("L2", 1000)
        await running.post(ours, only, paid, {**paid, "data": {**paid["data"], "amount": 9}})
        answer = await running.client.post("/v1/events", content=json.dumps(theirs).encode(), headers={**ONE, **bearer("east-key")})
        assert answer.status_code == 202
        assert (await state_of(running, ours))["overdue"]["total"] == 20000
        running.client.headers.update(bearer("east-key"))
        assert (await state_of(running, theirs))["overdue"]["total"] == 700
        assert len((await running.get("/v1/loans/L1/events"))["items"]) == 1
        assert [one["loan_id"] for one in (await running.get("/v1/borrowers/B1/loans"))["items"]] == ["L1"]
        assert [one["loan_id"] for one in (await running.get("/v1/overdue-report"))["items"]] == ["L1"]
        assert (await running.get("/v1/parked"))["items"] == []
        assert_problem(await running.client.get("/v1/loans/L2"), 404, "not_found")
        assert_problem(await running.client.get("/v1/loans/L2/events"), 404, "not_found")
        running.client.headers.update(bearer())
        [parked] = (await running.get("/v1/parked"))["items"]
        discard = f"/v1/parked/{parked['id']}:discard"
        assert_problem(await running.client.post(discard, json={"reason": "not ours"}, headers=bearer("east-key")), 404, "not_found")
        assert (await running.client.post(discard, json={"reason": "ours"})).status_code == 200


async def test_events_that_cannot_be_made_durable_are_asked_for_again_and_then_taken_once(databases: Databases) -> None:
    first, late, paid = loan("L1"), loan("L2"), repayment("L1", 10000, -1)
    async with databases.fresh("ingest") as engine:
        async with running_ingest(engine) as (running, _):
            await running.post(first)
            await running.service.consumers[0].stop()
            for _ in range(2):
                answer = await send(running, first, late, paid)
                assert_problem(answer, 503, "unavailable")
                assert int(answer.headers["retry-after"]) > 0
            ready = await running.client.get("/readyz")
            assert_problem(ready, 503, "not_ready")
            assert "bus" in ready.json()["checks"]
            assert (await running.client.get("/healthz")).status_code == 200
            assert (await state_of(running, first))["events"] == 1
        async with running_ingest(engine) as (running, _):
            for _ in range(2):
                assert (await send(running, first, late, paid)).json() == {"accepted": 3, "rejected": []}
            state = await state_of(running, first)
            assert (state["events"], state["version"], state["overdue"]["total"], state["doubt"]) == (2, 2, 10000, None)
            assert (await state_of(running, late))["version"] == 1


async def test_a_loan_keeps_the_product_version_in_force_at_its_disbursement(ingest: Running) -> None:
    default = await ingest.get("/v1/products/cash-loan")
    assert (default["version"], default["grace_days"], default["buckets"]["bounds"][0]) == (0, 0, {"name": "M1", "up_to": 30})
    before = loan("before", instalment(1, -5))
    await ingest.post(before)
    made = await ingest.client.put("/v1/products/cash-loan", json={"grace_days": 10, "tolerance": {"amount": 100, "percent": 0.5}})
    assert (made.status_code, made.json()["version"]) == (200, 1)
    between = loan("between", instalment(1, -5))
    await ingest.post(between)
    made = await ingest.client.put("/v1/products/cash-loan", json={"grace_days": 2})
    assert made.json()["version"] == 2
    after, own = loan("after", instalment(1, -5)), loan("own", instalment(1, -5), grace_days=7)
    await ingest.post(after, own)
    await ingest.post(*[repayment(one["data"]["loan_id"], 1000, -1) for one in (before, between, after, own)])
    days = {name: (await ingest.get(f"/v1/loans/{name}"))["delinquent_from"] for name in ("before", "between", "after", "own")}
    assert {name: int(day[8:]) - (TODAY.day - 5) for name, day in days.items()} == {"before": 0, "between": 10, "after": 2, "own": 7}
    shown = await ingest.get("/v1/products/cash-loan")
    assert (shown["version"], shown["grace_days"], shown["tolerance"]) == (2, 2, {"amount": 0, "percent": 0})


async def test_what_the_api_shows_of_a_product_line_can_be_put_again(ingest: Running) -> None:
    await ingest.client.put(
        "/v1/products/p", json={"tolerance": {"percent": 2.5}, "allocation": {"future_instalments": {"recovery": "last"}}}
    )
    shown = await ingest.get("/v1/products/p")
    answer = await ingest.client.put("/v1/products/p", json=shown)
    assert (answer.status_code, answer.json()) == (200, {**shown, "version": 2})


BAD_PRODUCTS: list[object] = [
    {"grace_days": -1},
    {"grace_days": 3651},
    {"grace_days": 1.5},
    {"grace": 3},
    {"tolerance": {"percent": "NaN"}},
    {"tolerance": {"percent": 101}},
    {"buckets": {"bounds": []}},
    {"buckets": {"bounds": [{"name": "a", "up_to": 5}]}},
    {"buckets": {"bounds": [{"name": "a", "up_to": 9}, {"name": "b", "up_to": 5}, {"name": "c", "up_to": None}]}},
    {"buckets": {"bounds": [{"name": "a", "up_to": 9}, {"name": "a", "up_to": None}]}},
    {"allocation": {"order": ["due_fee"]}},
    {"allocation": {"modes": "vertical"}},
    {"allocation": {"future_instalments": {"gift": "last"}}},
    {"tolerance": {"percents": 1}},
    {"buckets": {"nones": "M0"}},
    [],
]


async def test_a_product_line_that_cannot_be_used_is_a_problem_and_makes_no_version(ingest: Running) -> None:
    for body in BAD_PRODUCTS:
        assert_problem(await ingest.client.put("/v1/products/p", json=body), 422, "invalid_product")
    assert_problem(await ingest.client.put("/v1/products/a%20b", json={}), 422, "invalid_product")
    for raw in (b"{", b"", b"nul", b"\xff"):
        assert_problem(await ingest.client.put("/v1/products/p", content=raw), 400, "not_json")
    assert_problem(await ingest.client.put("/v1/products/p", content=b" " * (1024 * 1024 + 1)), 413, "body_too_large")
    assert (await ingest.get("/v1/products/p"))["version"] == 0


async def test_parked_events_are_listed_in_pages_and_by_loan_and_moment(ingest: Running) -> None:
    sent = [repayment(f"L{n}", 1000) for n in range(5)]
    await ingest.post(*[loan(f"L{n}") for n in range(5)], *sent)
    await ingest.post(*[{**one, "data": {**one["data"], "amount": 7}} for one in sent])
    seen: list[Any] = []
    cursor, pages = "", 0
    while True:
        page = await ingest.get("/v1/parked", limit=2, **({"cursor": cursor} if cursor else {}))
        assert page.keys() == {"items", "next"}
        seen += page["items"]
        pages += 1
        if page["next"] is None:
            break
        cursor = page["next"]
    assert pages == 3
    assert sorted(one["loan_id"] for one in seen) == [f"L{n}" for n in range(5)]
    assert all(one.keys() >= {"id", "event", "error", "detail", "at"} for one in seen)
    assert {one["event"]["data"]["amount"] for one in seen} == {7}
    assert [one["id"] for one in (await ingest.get("/v1/parked", loan_id="L3"))["items"]] == [
        one["id"] for one in seen if one["loan_id"] == "L3"
    ]
    assert len((await ingest.get("/v1/parked", since="2026-11-20T12:00:00Z"))["items"]) == 5
    assert (await ingest.get("/v1/parked", since="2026-11-20T12:00:00.000001Z"))["items"] == []


async def test_a_page_that_ends_with_the_last_item_is_followed_by_nothing(ingest: Running) -> None:
    sent = [repayment(f"L{n}", 1000) for n in range(2)]
    await ingest.post(*[loan(f"L{n}") for n in range(2)], *sent)
    await ingest.post(*[{**one, "data": {**one["data"], "amount": 7}} for one in sent])
    page = await ingest.get("/v1/parked", limit=2)
    rest = {"items": [], "next": None} if page["next"] is None else await ingest.get("/v1/parked", limit=2, cursor=page["next"])
    assert (len(page["items"]), rest) == (2, {"items": [], "next": None})


async def test_the_events_of_a_loan_are_shown_as_they_came_and_can_be_sent_again(ingest: Running) -> None:
    sent = [loan("L1"), repayment("L1", 5, -1), event("loan.resumed", loan_id="L1", on="2026-11-01")]
    await ingest.post(*sent)
    shown = (await ingest.get("/v1/loans/L1/events"))["items"]
    assert [one["id"] for one in shown] == [one["id"] for one in sent]
    answer = await ingest.client.post("/v1/events", content=json.dumps(shown).encode(), headers=BATCH)
    assert answer.json() == {"accepted": 3, "rejected": []}
    state = await ingest.get("/v1/loans/L1")
    assert (state["version"], state["doubt"]) == (3, None)


async def test_the_events_of_a_loan_and_the_loans_of_a_borrower_come_in_pages(ingest: Running) -> None:
    loans = [loan(f"L{n}", borrower_id="B1") for n in range(3)]
    await ingest.post(*loans, *[repayment("L0", 100 + n, -n) for n in range(1, 4)])
    for path, wanted in (("/v1/loans/L0/events", 4), ("/v1/borrowers/B1/loans", 3)):
        whole = await ingest.get(path)
        assert (len(whole["items"]), whole["next"]) == (wanted, None)
        first = await ingest.get(path, limit=2)
        rest = await ingest.get(path, limit=2, cursor=first["next"])
        assert (first["items"] + rest["items"], rest["next"]) == (whole["items"], None)
