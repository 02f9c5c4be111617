"""`Idempotency-Key`: done once, answered as often as it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from cryptography.exceptions import InvalidTag
from fastapi import FastAPI, Request, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import auth, idempotency
from libs.common.api import Described, Readiness, answer, make_app
from libs.common.auth import Keys, Principal
from libs.common.clock import WallClock
from libs.common.errors import DomainError
from libs.common.idempotency import Asked, Kept
from libs.common.metrics import Metrics
from tests.support.postgres import Databases
from tests.support.running import bearer, until

SCHEMA = "ingest"
WRITTEN_AND_FAILED = 599


@dataclass
class Counting:
    """An app whose one write is counted, and answers as it is told."""

    client: httpx.AsyncClient
    engine: AsyncEngine
    done: list[bytes] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(
        self, key: str | None, body: str = "{}", *, token: str = "a", path: str = "/things/1", method: str = "POST", **more: str
    ) -> httpx.Response:
        headers = bearer(token) | more | ({"Idempotency-Key": key} if key is not None else {})
        return await self.client.request(method, path, content=body, headers=headers)

    async def answer(self, request: Request) -> Response:
        self.done.append(await request.body())
        number = len(self.done)
        await self.held.wait()
        status = self.answers.pop(0) if self.answers else 201
        if status < 400 or status == WRITTEN_AND_FAILED:
            async with self.engine.begin() as conn:
                await conn.execute(text("insert into written values (:number)"), {"number": number})
        if status == WRITTEN_AND_FAILED:
            raise RuntimeError("a fault of ours behind the write")
        if status == 500:
            raise RuntimeError("a fault of ours")
        if status >= 400:
            raise DomainError(status, "refused", "no")
        return answer({"number": number}, status, headers={"ETag": f'"{number}"'})


@pytest.fixture
async def app(databases: Databases) -> AsyncIterator[Counting]:
    async with databases.fresh(SCHEMA) as engine:
        made: FastAPI = make_app(
            Described("t", "t", "t", ()), keys=Keys(engine, SCHEMA, WallClock()), metrics=Metrics(), readiness=Readiness()
        )
        async with engine.begin() as conn:
            await conn.execute(text("create table written (number int)"))
            for token in "ab":
                await auth.add_key(conn, SCHEMA, token, Principal("default", "tester", frozenset({"ops"})))
        transport = httpx.ASGITransport(made, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            counting = Counting(client, engine)
            counting.held.set()
            for method in ("POST", "PUT", "DELETE", "GET"):
                made.add_api_route("/things/{name}", counting.answer, methods=[method], operation_id=method)
            made.add_api_route("/v1/events", counting.answer, methods=["POST"])
            yield counting


async def rows(app: Counting) -> list[Any]:
    async with app.engine.connect() as conn:
        return list((await conn.execute(text("select * from ingest.idempotency"))).all())


async def test_the_same_request_again_has_the_same_answer_and_is_not_done_again(app: Counting) -> None:
    first, again = await app.write("k", '{"a":1}'), await app.write("k", '{"a":1}')
    assert app.done == [b'{"a":1}']
    assert (first.status_code, first.json(), first.headers["ETag"]) == (201, {"number": 1}, '"1"')
    assert (again.status_code, again.content, again.headers["ETag"]) == (201, first.content, '"1"')
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")


@pytest.mark.parametrize(
    "other", [{"body": "[]"}, {"path": "/things/2"}, {"path": "/things/1?x=1"}, {"method": "PUT"}, {"If-Match": '"7"'}], ids=str
)
async def test_another_request_under_the_same_key_is_refused(app: Counting, other: dict[str, str]) -> None:
    await app.write("k")
    refused = await app.write("k", **other)
    assert (refused.status_code, refused.json()["code"], len(app.done)) == (422, "idempotency_key_reused", 1)
    assert refused.headers["content-type"] == "application/problem+json"


async def test_without_a_key_under_another_key_and_of_another_caller_it_is_done(app: Counting) -> None:
    for key, token in (("k", "a"), (None, "a"), ("l", "a"), ("k", "b")):
        assert (await app.write(key, token=token)).status_code == 201
    assert len(app.done) == 4


async def test_while_it_is_under_way_the_same_request_is_asked_to_wait(app: Counting) -> None:
    app.held.clear()
    first = asyncio.create_task(app.write("k"))
    await until(lambda: app.done, what="the request")
    waiting = await app.write("k")
    assert (waiting.status_code, waiting.json()["code"], waiting.headers["Retry-After"]) == (409, "in_progress", "2")
    app.held.set()
    assert (await first).status_code == 201
    assert (await app.write("k")).json() == {"number": 1}
    assert len(app.done) == 1


async def test_of_many_at_once_one_is_done(app: Counting) -> None:
    answers = await asyncio.gather(*[app.write("k") for _ in range(8)])
    assert len(app.done) == 1
    assert {one.status_code for one in answers} <= {201, 409}


@pytest.mark.parametrize("status", [500, 503, 401, 403, 429])
async def test_a_fault_of_ours_or_an_answer_about_the_caller_is_not_kept(app: Counting, status: int) -> None:
    app.answers = [status]
    assert (await app.write("k")).status_code == status
    assert await rows(app) == []
    assert ((await app.write("k")).status_code, len(app.done)) == (201, 2)


async def test_a_refusal_is_an_answer(app: Counting) -> None:
    app.answers = [409]
    assert [(await app.write("k")).status_code for _ in range(2)] == [409, 409]
    assert len(app.done) == 1


async def test_after_a_day_or_when_its_process_is_gone_a_key_is_free(app: Counting) -> None:
    await app.write("k")
    async with app.engine.begin() as conn:
        kept = (await conn.execute(text("select expires_at - clock_timestamp() from ingest.idempotency"))).scalar_one()
        assert idempotency.KEPT.total_seconds() - 60 < kept.total_seconds() <= idempotency.KEPT.total_seconds()
        await conn.execute(text("update ingest.idempotency set expires_at = clock_timestamp()"))
    await app.write("k")
    assert len(app.done) == 2
    async with app.engine.begin() as conn:
        asked = Asked("a", "gone", b"r")
        assert await idempotency.claim(conn, SCHEMA, asked, "one")
        assert not await idempotency.claim(conn, SCHEMA, asked, "two")
        await conn.execute(text("update ingest.idempotency set expires_at = clock_timestamp() where key = 'gone'"))
        assert await idempotency.claim(conn, SCHEMA, asked, "three")
        await idempotency.keep(conn, SCHEMA, asked, "one", Kept(200, [], b"late"))
        assert (await idempotency.find(conn, SCHEMA, asked)) == idempotency.Found(b"r", None)
        await conn.execute(text("update ingest.idempotency set expires_at = clock_timestamp()"))
        assert await idempotency.prune(conn, SCHEMA, most=10) == 2


async def test_events_and_reading_and_who_has_no_key_pay_nothing(app: Counting) -> None:
    await app.write("k", path="/v1/events")
    await app.write("k", path="/v1/events")
    await app.write("k", method="GET")
    await app.write("k", token="nobody")
    assert (len(app.done), await rows(app)) == (4, [])


async def test_a_kept_answer_can_be_read_by_nobody_but_its_caller(app: Counting) -> None:
    await app.write("k")
    [row] = await rows(app)
    assert b"number" not in row.answer
    assert Asked("a", "k", b"").unseal(row.answer).status == 201
    with pytest.raises(InvalidTag):
        Asked("b", "k", b"").unseal(row.answer)


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b", "é"])
async def test_what_is_no_key_is_refused(app: Counting, key: str) -> None:
    headers = [(b"authorization", b"Bearer a"), (b"idempotency-key", key.encode())]
    refused = await app.client.post("/things/1", headers=httpx.Headers(headers))
    assert (refused.status_code, app.done) == (422, [])


async def test_openapi_names_the_key_on_every_write_but_that_of_events(app: Counting) -> None:
    paths = (await app.client.get("/openapi.json")).json()["paths"]
    names = {(path, method): [p["name"] for p in said.get("parameters", ())] for path, ops in paths.items() for method, said in ops.items()}
    assert {place for place, has in names.items() if "Idempotency-Key" in has} == {
        ("/things/{name}", method) for method in ("post", "put", "delete")
    }


async def written(app: Counting) -> int:
    async with app.engine.connect() as conn:
        return int((await conn.execute(text("select count(*) from written"))).scalar_one())


async def test_what_was_written_is_not_written_again_though_its_answer_was_lost(app: Counting) -> None:
    app.answers = [WRITTEN_AND_FAILED]
    assert (await app.write("k")).status_code == 500
    assert (await app.write("k")).json()["code"] == "in_progress"
    async with app.engine.begin() as conn:
        await conn.execute(text("update ingest.idempotency set written_at = written_at - interval '3 minutes'"))
    lost = await app.write("k")
    assert (lost.status_code, lost.json()["code"]) == (409, "answer_lost")
    assert (len(app.done), await written(app)) == (1, 1)


async def test_a_request_whose_key_has_gone_to_another_cannot_commit(app: Counting) -> None:
    app.held.clear()
    slow = asyncio.create_task(app.write("k"))
    await until(lambda: app.done, what="the request")
    async with app.engine.begin() as conn:
        await conn.execute(text("update ingest.idempotency set expires_at = clock_timestamp()"))
    second = asyncio.create_task(app.write("k"))
    await until(lambda: len(app.done) == 2, what="the second request")
    app.held.set()
    answers = await asyncio.gather(slow, second)
    assert [one.status_code for one in answers] == [503, 201]
    assert await written(app) == 1


async def test_what_is_done_without_a_key_is_marked_nowhere(app: Counting) -> None:
    assert [(await app.write(None)).status_code for _ in range(2)] == [201, 201]
    assert (await written(app), await rows(app)) == (2, [])
