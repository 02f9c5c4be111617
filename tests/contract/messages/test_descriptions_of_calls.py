"""What `openapi.json` must say for a client to be generated from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from libs.common.auth import SCOPES
from libs.common.describing import name_of
from tests.support.built import built_platform

SERVICES = ("ingest", "scheduler", "notifier")
OPEN = {"/v1/policies/schema", "/v1/unsubscribe/{token}", "/b/{token}"}
"""Calls that need no key: a public schema, and signed links from messages."""


async def said_by(service: str) -> Any:
    async with built_platform() as (_, client):
        return (await client.get(f"/{service}/openapi.json")).json()


def calls(said: Any) -> Iterator[tuple[str, str, Any]]:
    for path, operations in said["paths"].items():
        for method, operation in operations.items():
            yield method, path, operation


def schemas_in(part: Any) -> Iterator[Any]:
    match part:
        case dict():
            if isinstance(part.get("schema"), dict):
                yield part["schema"]
            for one in part.values():
                yield from schemas_in(one)
        case list():
            for one in part:
                yield from schemas_in(one)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/v1/loans/{loan_id}/statement", "getLoanStatement"),
        ("POST", "/v1/tasks/{task_id}:claim", "claimTask"),
        ("POST", "/v1/policies/{name}/versions/{version}:submit", "submitPolicyVersion"),
        ("POST", "/v1/policies:validate", "validatePolicies"),
        ("PUT", "/v1/products/{name}", "putProduct"),
        ("GET", "/v1/cases/{case_id}/next-contact", "getCaseNextContact"),
        ("POST", "/v1/cases/{case_id}:take_back", "takeBackCase"),
    ],
)
def test_a_call_is_named_by_what_it_does(method: str, path: str, name: str) -> None:
    assert name_of(method, path) == name


@pytest.mark.parametrize("service", SERVICES)
async def test_every_call_has_a_name_of_its_own_a_sentence_and_a_tag(service: str) -> None:
    said = await said_by(service)
    names = [operation["operationId"] for _, _, operation in calls(said)]
    assert len(names) == len(set(names))
    for method, path, operation in calls(said):
        assert operation["operationId"].isidentifier(), path
        assert len(operation["summary"].split()) > 1, f"{method} {path}: {operation['summary']}"
        assert operation["tags"], path


@pytest.mark.parametrize("service", SERVICES)
async def test_every_call_says_who_may_make_it(service: str) -> None:
    said = await said_by(service)
    assert said["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for _, path, operation in calls(said):
        scopes = [scope for scheme in operation["security"] for scope in scheme["key"]]
        assert scopes or path in OPEN, path
        assert set(scopes) <= set(SCOPES), path


@pytest.mark.parametrize("service", SERVICES)
async def test_every_call_refuses_with_problem_documents_and_none_of_another_kind(service: str) -> None:
    said = await said_by(service)
    assert not {"HTTPValidationError", "ValidationError"} & said["components"]["schemas"].keys()
    for _, path, operation in calls(said):
        refusals = {code: answer for code, answer in operation["responses"].items() if code >= "400"}
        assert {"422", "503"} <= refusals.keys(), path
        if operation["security"]:
            assert {"401", "403"} <= refusals.keys(), path
        for code, answer in refusals.items():
            whole = said["components"]["responses"][code] if "$ref" in answer else answer
            assert set(whole["content"]) == {"application/problem+json"}, f"{path} {code}"


@pytest.mark.parametrize("service", SERVICES)
async def test_every_call_says_what_it_answers(service: str) -> None:
    said = await said_by(service)
    for method, path, operation in calls(said):
        for code, answer in operation["responses"].items():
            if code >= "300" or code == "204":
                continue
            assert answer.get("content"), f"{method} {path} {code}"
            told = answer["content"].get("application/json")
            shape = None if told is None else told["schema"]
            assert shape is None or "$ref" in shape or shape["properties"]["items"]["items"] != {"type": "object"}, f"{method} {path}"


@pytest.mark.parametrize("service", SERVICES)
async def test_every_write_names_its_header_once_and_its_body_is_described(service: str) -> None:
    said = await said_by(service)
    for method, path, operation in calls(said):
        headers = [one["name"].lower() for one in operation.get("parameters", ()) if one["in"] == "header"]
        assert len(headers) == len(set(headers)), path
        assert ("idempotency-key" in headers) == (method != "get" and path != "/v1/events"), path
        if method == "put":
            assert "requestBody" in operation, path


@pytest.mark.parametrize("service", SERVICES)
async def test_every_schema_is_one(service: str) -> None:
    said = await said_by(service)
    for schema in [*said["components"]["schemas"].values(), *schemas_in(said["paths"])]:
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", ["/openapi.json", "/metrics", "/v1/loans/L1", "/nobody/v1/loans"])
async def test_what_stands_beside_the_services_is_a_problem_too(path: str) -> None:
    async with built_platform() as (_, client):
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"
