"""JWTs of an identity provider at the doors of all three services, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.auth import SCOPES
from libs.common.bus.inprocess import InProcessBus
from libs.common.clock import DrivenClock
from libs.common.jwks import ASKED_AGAIN, judging
from libs.common.lifecycle import Service
from libs.common.ports import Ports
from libs.common.settings import common
from services.apart import wired
from tests.integration.http.asking import assert_problem
from tests.integration.scheduler.policy_world import DOCUMENT, YAML
from tests.support.issuing import AUDIENCE, ISSUER, Issuer, forged, public_pem, published
from tests.support.postgres import Databases
from tests.support.running import add_key, bearer, served
from tests.support.wallet import NOON, loan

SERVICES = ("ingest", "scheduler", "notifier")
READS = {
    "ingest": ("loans:read", "/v1/settings"),
    "scheduler": ("cases:read", "/v1/cases"),
    "notifier": ("contacts:read", "/v1/deliveries"),
}
EVERYTHING = " ".join(SCOPES)
SEALING = base64.b64encode(b"k" * 32).decode()


@dataclass
class Doors:
    """The services apart as their environment wires them, each behind a real server, and the issuer that they believe."""

    clients: dict[str, httpx.AsyncClient]
    issuer: Issuer
    clock: DrivenClock
    engine: AsyncEngine

    async def ask(self, service: str, method: str, path: str, token: str | None, **sent: Any) -> httpx.Response:
        headers = {**sent.pop("headers", {}), **({} if token is None else bearer(token))}
        return await self.clients[service].request(method, path, headers=headers, **sent)

    def token(self, kid: str = "RS256", **claims: Any) -> str:
        return self.issuer.token(self.clock.now(), kid, **claims)


@pytest.fixture
async def doors(databases: Databases) -> AsyncIterator[Doors]:
    issuer, clock, clients = Issuer(), DrivenClock(NOON), {}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(databases.fresh(*SERVICES))
        env = {
            "DUNWELL_DATABASE_URL": "postgresql://not.asked", "DUNWELL_KAFKA_BOOTSTRAP": "not.asked:1",
            "DUNWELL_SEALING_PUBLIC_KEY": SEALING, "DUNWELL_SEALING_PRIVATE_KEY": SEALING, "DUNWELL_DIGEST_KEY": SEALING,
            "DUNWELL_JWT_ISSUER": ISSUER, "DUNWELL_JWT_AUDIENCE": AUDIENCE,
            "DUNWELL_JWT_JWKS_URL": await stack.enter_async_context(published(issuer)),
        }  # fmt: skip
        for name in SERVICES:
            told = common(name, env)
            tokens = await stack.enter_async_context(judging(told.tokens, clock))
            service = wired(name, Ports(engine, InProcessBus(clock=clock), clock, "test", tokens), told)
            stack.push_async_callback(service.close)
            await stack.enter_async_context(consuming(service))
            url = await stack.enter_async_context(served(service.app))
            clients[name] = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
            await add_key(engine, name, "default")
        yield Doors(clients, issuer, clock, engine)


@asynccontextmanager
async def consuming(service: Service) -> AsyncIterator[None]:
    """Take in what is published, which a publish within one process waits for."""
    running = [asyncio.create_task(worker.run()) for worker in service.consumers]
    try:
        yield
    finally:
        for worker in service.consumers:
            await worker.stop()
        await asyncio.gather(*running)


async def test_a_token_with_the_scope_opens_each_door_and_a_key_still_does(doors: Doors) -> None:
    for service, (scope, path) in READS.items():
        for kid in doors.issuer.keys:
            assert (await doors.ask(service, "GET", path, doors.token(kid, scope=f"openid {scope}"))).status_code == 200
        assert (await doors.ask(service, "GET", path, "test-key")).status_code == 200


async def test_without_the_scope_each_door_says_which_one_is_missing(doors: Doors) -> None:
    for service, (scope, path) in READS.items():
        others = " ".join(one for one in SCOPES if one != scope)
        for said in (others, "openid", None):
            assert scope in assert_problem(await doors.ask(service, "GET", path, doors.token(scope=said)), 403, "forbidden")["detail"]


async def test_every_wrong_token_is_refused_as_a_wrong_key_is(doors: Doors) -> None:
    now, may = doors.clock.now(), {"scope": EVERYTHING}
    wrong = {
        "expired": doors.token(exp=int(now.timestamp()) - 60, **may),
        "not yet valid": doors.token(nbf=int(now.timestamp()) + 60, **may),
        "for another audience": doors.token(aud="wallet", **may),
        "of another issuer": doors.token(iss="https://other.example", **may),
        "without a tenant": doors.token(tenant=None, **may),
        "of an unknown key": doors.token(headers={"kid": "unknown"}, **may),
        "unsigned": forged(now, "none", "RS256", b"", **may),
        "signed with what is public": forged(now, "HS256", "RS256", public_pem("RS256"), **may),
        "three parts of nothing": "a.b.c",
        "a key": "no-key-of-ours",
    }
    for service, (_, path) in READS.items():
        answers = {name: await doors.ask(service, "GET", path, token) for name, token in {**wrong, "nothing": None}.items()}
        for name, answer in answers.items():
            assert assert_problem(answer, 401, "unauthenticated") == answers["a key"].json(), (service, name)
            assert answer.headers["www-authenticate"] == answers["a key"].headers["www-authenticate"], (service, name)


async def test_a_key_that_the_issuer_turns_to_opens_each_door_within_the_bound(doors: Doors) -> None:
    for service, (scope, path) in READS.items():
        assert (await doors.ask(service, "GET", path, doors.token(scope=scope))).status_code == 200
    doors.issuer.keys = {"next": "ES256"}
    doors.clock.advance(ASKED_AGAIN)
    for service, (scope, path) in READS.items():
        assert (await doors.ask(service, "GET", path, doors.token("next", scope=scope))).status_code == 200


async def test_what_is_written_names_the_subject_be_it_a_person_or_a_machine(doors: Doors) -> None:
    for service in SERVICES:
        for person, subject in ((True, "auth0|5f7c8ec7c33c"), (None, "core-banking")):
            token = doors.token(sub=subject, person=person, scope="ops")
            done = await doors.ask(service, "PUT", "/v1/settings", token, json={}, headers={"If-Match": "*"})
            assert (done.status_code, done.json()["by"]) == (200, subject)


async def test_the_tenant_is_the_token_s_and_no_other_s(doors: Doors) -> None:
    written = await doors.ask("notifier", "PUT", "/v1/settings", doors.token(scope="ops"), json={}, headers={"If-Match": "*"})
    assert written.json()["version"] == 1
    read = {"scope": "contacts:read"}
    assert (await doors.ask("notifier", "GET", "/v1/settings", doors.token(**read))).json()["version"] == 1
    assert (await doors.ask("notifier", "GET", "/v1/settings", doors.token(tenant="other", **read))).json()["version"] == 0
    body = {"headers": {"Content-Type": "application/cloudevents+json"}, "json": loan("L1")}
    assert (await doors.ask("ingest", "POST", "/v1/events", doors.token(scope="events:write"), **body)).status_code == 202
    refused = await doors.ask("ingest", "POST", "/v1/events", doors.token(scope="events:write", tenant="other"), **body)
    assert_problem(refused, 403, "unknown_tenant")


async def test_of_two_persons_with_tokens_one_approves_what_the_other_wrote_and_a_machine_approves_nothing(doors: Doors) -> None:
    mei, ola = (doors.token(sub=name, scope=EVERYTHING) for name in ("mei", "ola"))
    made = (await doors.ask("scheduler", "POST", "/v1/policies", mei, content=DOCUMENT, headers=YAML)).json()
    path = f"/v1/policies/{made['policy']}/versions/{made['version']}"
    assert (made["author"], (await doors.ask("scheduler", "POST", f"{path}:submit", mei)).status_code) == ("mei", 200)
    again = doors.token("ES256", sub="mei", scope=EVERYTHING)
    for token in (mei, again):
        assert_problem(await doors.ask("scheduler", "POST", f"{path}:approve", token), 403, "own_work")
    for person in (None, False, "true", 1):
        robot = doors.token(sub="robot", person=person, scope=EVERYTHING)
        assert_problem(await doors.ask("scheduler", "POST", f"{path}:approve", robot), 403, "forbidden")
    approved = await doors.ask("scheduler", "POST", f"{path}:approve", ola)
    assert (approved.status_code, approved.json()["decided_by"]) == (200, "ola")
    history = (await doors.ask("scheduler", "GET", f"/v1/policies/{made['policy']}/history", ola)).json()["items"]
    assert {(one["action"], one["by"]) for one in history} >= {("drafted", "mei"), ("submitted", "mei"), ("approved", "ola")}


async def test_a_person_s_key_that_names_the_subject_is_the_same_person_to_four_eyes(doors: Doors) -> None:
    made = (
        await doors.ask("scheduler", "POST", "/v1/policies", doors.token(sub="tester", scope=EVERYTHING), content=DOCUMENT, headers=YAML)
    ).json()
    path = f"/v1/policies/{made['policy']}/versions/{made['version']}"
    assert (await doors.ask("scheduler", "POST", f"{path}:submit", "test-key")).status_code == 200
    assert_problem(await doors.ask("scheduler", "POST", f"{path}:approve", "test-key"), 403, "own_work")


async def test_a_write_under_an_idempotency_key_is_done_once_though_the_token_was_renewed(doors: Doors) -> None:
    async def turn(token: str, key: str = "k-1") -> httpx.Response:
        switch = {"scope": "all", "contacts": "off", "reason": "a test"}
        return await doors.ask("notifier", "PUT", "/v1/switch", token, json=switch, headers={"Idempotency-Key": key})

    first = await turn(doors.token(scope="ops"))
    doors.clock.advance(ASKED_AGAIN)
    again = await turn(doors.token("EdDSA", scope="ops contacts:read"))
    assert (first.status_code, again.content, again.headers.get("Idempotent-Replayed")) == (200, first.content, "true")
    for other in ({"sub": "ola"}, {"person": None}, {"tenant": "other"}):
        assert "Idempotent-Replayed" not in (await turn(doors.token(scope="ops", **other))).headers, other
    async with doors.engine.connect() as conn:
        kept = (await conn.execute(text("select caller, key, answer from notifier.idempotency"))).all()
    assert len(kept) == 4
    assert not any("k-1" in row.key or b"a test" in row.answer for row in kept)
