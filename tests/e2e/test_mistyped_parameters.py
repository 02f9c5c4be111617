"""Callers with a key are told about a parameter that the call does not have; links and callbacks may carry others."""

from __future__ import annotations

import re

from tests.e2e.world import World

OPEN = {
    "/scheduler/v1/policies/schema", "/scheduler/b/{token}",
    "/notifier/v1/unsubscribe/{token}", "/notifier/v1/providers/{name}/{secret}/receipts",
    "/notifier/healthz", "/notifier/readyz", "/notifier/metrics", "/notifier/docs", "/notifier/openapi.json",
}  # fmt: skip


async def test_every_call_with_a_key_refuses_a_parameter_that_it_does_not_have_and_no_open_one_does(world: World) -> None:
    refused = 0
    for service in ("ingest", "scheduler", "notifier"):
        for path, operations in (await world.get(f"/{service}/openapi.json"))["paths"].items():
            for method, operation in operations.items():
                at = f"/{service}{re.sub('{version}', '1', path)}"
                answer = await world.http.request(method, at, params={"utm_source": "x"}, json={})
                told = "query.utm_source: there is no such parameter" in answer.text
                assert told is bool(operation["security"]), (method, at, answer.text)
                refused += told
    assert refused > 100
    for path in OPEN:
        assert "utm_source" not in (await world.http.get(path, params={"utm_source": "x"})).text, path
