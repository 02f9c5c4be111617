"""What ingest refuses over HTTP, how it says so, and that nothing beside it is harmed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from libs.common import auth
from libs.common.auth import Principal
from tests.integration.http.asking import BATCH, NDJSON, ONE, assert_problem, listening, pieces, send, send_one, state_of
from tests.support.running import Running, bearer
from tests.support.wallet import Event, event, instalment, loan, repayment

MIB = 1024 * 1024


def with_data(sent: Event, **changes: Any) -> Event:
    return {**sent, "data": {**sent["data"], **changes}}


BAD: dict[str, object] = {
    "unknown type": {**loan("L1"), "type": "wallet.loan.exploded.v1"},
    "naive time": {**loan("L1"), "time": "2026-01-01T10:00:00"},
    "a time whose offset leads out of the calendar": {**loan("L1"), "time": "9999-12-31T23:59:59-12:00"},
    "id too long": {**loan("L1"), "id": "x" * 129},
    "loan id too long": with_data(loan("L1"), loan_id="x" * 129),
    "the character 0 in the source": {**loan("L1"), "source": "a\0b"},
    "negative amount": with_data(loan("L1"), schedule=[instalment(1, 1, principal=-1)]),
    "float amount": with_data(loan("L1"), schedule=[{**instalment(1, 1), "principal": 1.5}]),
    "amount beyond 64 bits": with_data(loan("L1"), schedule=[instalment(1, 1, principal=2**63)]),
    "a tolerance that is no number": with_data(loan("L1"), tolerance={"percent": "NaN"}),
    "unknown currency": with_data(loan("L1"), currency="XXQ"),
    "unknown zone": with_data(loan("L1"), timezone="Mars/Olympus"),
    "no data": {k: v for k, v in loan("L1").items() if k != "data"},
    "not an object": "hello",
    "null": None,
}


async def test_malformed_events_are_refused_with_their_place_and_the_good_ones_beside_them_stand(ingest: Running) -> None:
    first, last = loan("good-1"), loan("good-2")
    answer = await send(ingest, first, *BAD.values(), last)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    rejected = answer.json()["rejected"]
    assert [r["index"] for r in rejected] == list(range(1, len(BAD) + 1))
    for one in rejected:
        assert one.keys() == {"index", "id", "error", "detail"}
        assert 10 <= len(one["detail"]) <= 300
    for good in (first, last):
        assert (await state_of(ingest, good))["past_due_days"] == 40
    assert (await ingest.get("/v1/parked"))["items"] == []


async def test_a_single_malformed_event_is_a_problem(ingest: Running) -> None:
    for name, bad in BAD.items():
        assert_problem(await send_one(ingest, bad), 422, "unknown_type" if name == "unknown type" else "malformed")


async def test_one_bad_line_spoils_only_itself(ingest: Running) -> None:
    first, last = loan("good-1"), loan("good-2")
    lines = [json.dumps(first).encode(), b"{not json", b"", b"\xff\xfe", b"[" * 100_000, json.dumps(last).encode()]
    answer = await ingest.client.post("/v1/events", content=b"\xef\xbb\xbf" + b"\r\n".join(lines), headers=NDJSON)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert [(r["index"], r["error"]) for r in answer.json()["rejected"]] == [(1, "not_json"), (2, "not_json"), (3, "not_json")]
    assert (await state_of(ingest, last))["events"] == 1


UNUSABLE = [
    (ONE, b"{not json", 400, "not_json"),
    (ONE, b"", 400, "not_json"),
    (ONE, b"\xff\xfe\x00", 400, "not_json"),
    (ONE, b"[" * 100_000, 400, "not_json"),
    (BATCH, b"[" * 100_000, 400, "not_a_list"),
    (BATCH, b'{"an": "object"}', 400, "not_a_list"),
    (BATCH, b"", 400, "not_a_list"),
    (ONE, b'{"type": "wallet.loan.exploded.v1"}', 422, "malformed"),
    ({"Content-Type": "text/plain"}, b"hello", 415, "unsupported_media_type"),
    ({"Content-Type": "application/json"}, b"{}", 415, "unsupported_media_type"),
    ({}, b"{}", 415, "unsupported_media_type"),
    (BATCH, b"[" + b",".join([b"{}"] * 100_000) + b"]", 413, "too_many_events"),
    (NDJSON, b"{}\n" * 10_001, 413, "too_many_events"),
    (NDJSON, b"x" * (16 * MIB + 1), 413, "body_too_large"),
]


async def test_a_body_that_cannot_be_used_is_a_problem_and_the_next_one_is_taken(ingest: Running) -> None:
    for headers, body, status, code in UNUSABLE:
        assert_problem(await ingest.client.post("/v1/events", content=body, headers=headers), status, code)
    good = loan("good-1")
    await ingest.post(good)
    assert (await state_of(ingest, good))["events"] == 1


async def test_a_content_type_may_carry_parameters_and_capitals(ingest: Running) -> None:
    headers = {"Content-Type": "Application/CloudEvents+JSON; charset=UTF-8"}
    answer = await ingest.client.post("/v1/events", content=json.dumps(loan("L1")).encode(), headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": []})


async def test_a_batch_of_nothing_is_nothing(ingest: Running) -> None:
    for headers, body in ((BATCH, b"[]"), (NDJSON, b"\n\n"), (NDJSON, b"")):
        answer = await ingest.client.post("/v1/events", content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "rejected": []})


@pytest.mark.parametrize("said", [True, False], ids=["with its length", "in pieces"])
async def test_the_sender_of_50_mb_can_read_the_answer_on_a_real_socket(ingest: Running, *, said: bool) -> None:
    async with listening(ingest) as client:
        parts = [b"x" * MIB] * 50
        answer = await client.post("/v1/events", content=b"".join(parts) if said else pieces(parts), headers=NDJSON)
        assert_problem(answer, 413, "body_too_large")
        good = loan("good-1")
        assert (await client.post("/v1/events", content=json.dumps(good).encode(), headers=ONE)).status_code == 202
    assert (await state_of(ingest, good))["events"] == 1


async def test_a_currency_that_changes_on_a_loan_is_ignored_and_the_state_says_why(ingest: Running) -> None:
    first = loan("L1")
    again = {**loan("L1", currency="USD"), "time": "2026-11-01T00:00:00Z"}
    other = event("instalment.due", loan_id="L1", n=9, due_on="2026-11-01", principal=500, currency="USD")
    await ingest.post(first, again, other)
    state = await state_of(ingest, first)
    assert (state["currency"], state["overdue"]["total"], len(state["schedule"]), state["doubt"]) == ("CNY", 20000, 3, None)
    assert {one["event"] for one in state["ignored"]} == {again["id"], other["id"]}
    assert all(one["why"] for one in state["ignored"])


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/events"), ("GET", "/v1/loans/L1"), ("GET", "/v1/parked"), ("PUT", "/v1/products/p")]
)
async def test_without_a_key_nothing_is_shown_or_taken(ingest: Running, method: str, path: str) -> None:
    ingest.client.headers.pop("authorization")
    for said in (None, b"Bearer not-a-key", b"Bearer ", b"Bearer", b"Basic dGVzdC1rZXk=", b"test-key", b"\xff", b"Bearer \xff"):
        answer = await ingest.client.request(method, path, headers=[] if said is None else [(b"Authorization", said)], content=b"{}")
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


SCOPES = [
    ("events:write", "POST", "/v1/events"),
    ("loans:read", "GET", "/v1/loans/L1"),
    ("loans:read", "GET", "/v1/loans/L1/statement"),
    ("loans:read", "GET", "/v1/overdue-report"),
    ("loans:read", "GET", "/v1/borrowers/B1/loans"),
    ("products:write", "PUT", "/v1/products/p"),
    ("ops", "GET", "/v1/parked"),
    ("ops", "POST", "/v1/parked/p-1:discard"),
]


async def test_a_key_without_the_scope_is_told_which_one_it_lacks(ingest: Running) -> None:
    for scope, method, path in SCOPES:
        async with ingest.engine.begin() as conn:
            await auth.add_key(conn, "ingest", f"without {scope}", Principal("default", None, frozenset(auth.SCOPES) - {scope}))
        answer = await ingest.client.request(method, path, headers=bearer(f"without {scope}"), content=b'{"reason": "x"}')
        assert scope in assert_problem(answer, 403, "forbidden")["detail"]


async def test_a_key_for_loopback_is_refused_behind_a_proxy(ingest: Running) -> None:
    async with ingest.engine.begin() as conn:
        await auth.add_key(conn, "ingest", "local", Principal("default", "dev", frozenset(auth.SCOPES), loopback_only=True))
    assert (await ingest.client.get("/v1/parked", headers=bearer("local"))).status_code == 200
    for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP"):
        assert_problem(await ingest.client.get("/v1/parked", headers={**bearer("local"), name: "x"}), 401, "unauthenticated")


async def test_a_key_of_a_tenant_without_topics_publishes_nothing(ingest: Running) -> None:
    async with ingest.engine.begin() as conn:
        await auth.add_key(conn, "ingest", "stranger", Principal("nowhere", None, frozenset(auth.SCOPES)))
    answer = await ingest.client.post("/v1/events", content=json.dumps(loan("L1")).encode(), headers={**ONE, **bearer("stranger")})
    assert_problem(answer, 403, "unknown_tenant")
    assert (await ingest.client.get("/v1/loans/L1")).status_code == 404


async def test_another_method_is_a_problem_that_names_the_right_one(ingest: Running) -> None:
    for method, path in (("GET", "/v1/events"), ("DELETE", "/v1/loans/L1"), ("POST", "/v1/products/p"), ("PUT", "/v1/parked")):
        answer = await ingest.client.request(method, path)
        assert answer.headers["allow"] in assert_problem(answer, 405, "method_not_allowed")["detail"]
    assert (await ingest.client.delete("/v1/settings")).headers["allow"] == "GET, HEAD, PUT"


async def test_what_is_not_there_is_a_problem(ingest: Running) -> None:
    for path in (
        "/v1/loans/nobody",
        "/v1/loans/nobody/events",
        "/v1/nowhere",
        "/",
        "/v1/loans/a%20b",
        "/v1/loans/%ff",
        f"/v1/loans/{'x' * 4000}",
    ):
        assert_problem(await ingest.client.get(path), 404, "not_found")
    for path in ("/v1/nowhere", "/v1/events/"):
        said = assert_problem(await ingest.client.post(path), 404, "not_found")["detail"]
        assert said == f"nothing is at {path}; /openapi.json lists what there is"


STRANGE = [
    "/v1/loans/a%00b",
    "/v1/loans/a%00b/events",
    "/v1/borrowers/%00/loans",
    "/v1/products/%00",
    "/v1/loans/L1?as_of=0001-01-01",
    "/v1/loans/L1?as_of=9999-12-31",
    "/v1/loans/L1?as_of=2026-02-30",
    "/v1/loans/L1?as_of=yesterday",
    "/v1/loans/L1?as_of=1e9",
    "/v1/loans/L1?known_at=2026-01-01T00:00:00",
    "/v1/loans/L1?known_at=0001-01-01T00:00:00%2B14:00",
    "/v1/overdue-report?known_at=0001-01-01T00:00:00%2B14:00",
    "/v1/overdue-report?known_at=9999-12-31T23:59:59-14:00",
    "/v1/overdue-report?known_at=9999-12-31T23:59:59Z",
    "/v1/loans/L1?known_at=9999-12-31T23:59:59-14:00",
    "/v1/overdue-report?format=xml",
    "/v1/overdue-report?bucket=%00",
    "/v1/overdue-report?product=%00",
    "/v1/parked?since=2026-01-01T00:00:00",
    "/v1/parked?since=0001-01-01T00:00:00%2B14:00",
    "/v1/parked?limit=0",
    "/v1/parked?limit=1001",
    "/v1/parked?limit=many",
    "/v1/parked?loan_id=%00",
    "/v1/parked?cursor=%00",
]


async def test_a_strange_address_is_answered_and_never_a_fault_of_ours(ingest: Running) -> None:
    await ingest.post(loan("L1"), repayment("L1", 100, -1))
    for path in STRANGE:
        answer = await ingest.client.get(path)
        if answer.status_code != 200:
            assert_problem(answer, answer.status_code, "not_found" if answer.status_code == 404 else "invalid_request")
            assert answer.status_code in (400, 404, 422)


async def test_a_decision_without_a_reason_that_can_be_kept_is_refused(ingest: Running) -> None:
    paid = repayment("L1", 1000)
    await ingest.post(loan("L1"), paid)
    await ingest.post({**paid, "data": {**paid["data"], "amount": 9}})
    [parked] = (await ingest.get("/v1/parked"))["items"]
    unknown = b'{"reason": "a", "reasons": "b"}'
    for body in (b"", b"{", b"[" * 100_000, b"\xff", b"{}", b'{"reason": ""}', b'{"reason": 7}', b'{"reason": "a\\u0000b"}', unknown):
        answer = await ingest.client.post(f"/v1/parked/{parked['id']}:discard", content=body, headers={"Content-Type": "application/json"})
        assert_problem(answer, answer.status_code, answer.json()["code"])
        assert answer.status_code in (400, 422)
    assert len((await ingest.get("/v1/parked"))["items"]) == 1


async def test_head_is_answered_wherever_get_is_without_a_body(ingest: Running) -> None:
    await send(ingest, loan("L1"))
    for path in ("/healthz", "/readyz", "/v1/loans/L1", "/v1/loans/none", "/openapi.json"):
        asked, got = await ingest.client.head(path), await ingest.client.get(path)
        assert (asked.status_code, asked.content) == (got.status_code, b""), path
        assert asked.headers["content-type"] == got.headers["content-type"]
    assert (await ingest.client.head("/v1/events")).status_code == 405


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("as_of=2200-01-01", "query.as_of: this should be less than or equal to 2199-12-31"),
        ("as_of=1969-12-31", "query.as_of: this should be greater than or equal to 1970-01-01"),
        ("as_of=soon", "query.as_of: a date is YYYY-MM-DD"),
    ],
)
async def test_a_refusal_names_dates_as_dates_are_written(ingest: Running, query: str, said: str) -> None:
    assert assert_problem(await ingest.client.get(f"/v1/loans/L1?{query}"), 422, "invalid_request")["detail"] == said


MISTYPED = [
    ("/v1/loans/L1?as_off=2026-01-01", "query.as_off: there is no such parameter here: did you mean 'as_of'?"),
    ("/v1/loans/L1?known-at=2026-01-01T00:00:00Z", "query.known-at: there is no such parameter here: did you mean 'known_at'?"),
    ("/v1/parked?limt=5&loan_id=L1", "query.limt: there is no such parameter here: did you mean 'limit'?"),
    ("/v1/loans/L1?zzz", "query.zzz: there is no such parameter here: there are 'as_of', 'known_at'"),
    ("/v1/products/p?version=1", "query.version: there is no such parameter here, nor any other"),
    ("/v1/loans/L1?as_of=2026-01-01&as_of=2026-01-02", "query.as_of: it is given 2 times; give it once"),
    (f"/v1/loans/L1?{'x' * 5000}=1", f"query.{'x' * 100}: there is no such parameter here: there are 'as_of', 'known_at'"),
]


async def test_a_parameter_that_a_call_does_not_have_is_refused_with_the_one_that_was_meant(ingest: Running) -> None:
    await ingest.post(loan("L1"))
    for path, said in MISTYPED:
        assert assert_problem(await ingest.client.get(path), 422, "invalid_request")["detail"] == said
    sent = await ingest.client.post("/v1/events?dry_run=true", content=json.dumps(loan("L2")).encode(), headers=ONE)
    assert_problem(sent, 422, "invalid_request")
    assert (await ingest.client.get("/v1/loans/L2")).status_code == 404
    assert (await ingest.client.get("/v1/loans/L1?as_off=1", headers=bearer("nobody's"))).status_code == 401
