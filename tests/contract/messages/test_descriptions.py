"""How each service describes itself: `asyncapi.json` and `openapi.json`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from libs.common.asyncapi import describe
from libs.common.contracts.catalogue import CATALOGUE, FACTS, TASKS
from libs.common.contracts.corrections import CorrectedDays, written
from tests.support.built import built_platform
from tests.support.schemas import example_of, generated, read

SERVICES = ("ingest", "scheduler", "notifier")


def references(document: Any) -> Iterator[str]:
    match document:
        case dict():
            if isinstance(document.get("$ref"), str):
                yield document["$ref"]
            for part in document.values():
                yield from references(part)
        case list():
            for part in document:
                yield from references(part)


def resolved(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


async def said_by(service: str, page: str) -> Any:
    async with built_platform() as (_, client):
        answer = await client.get(f"/{service}/{page}")
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize("service", SERVICES)
async def test_the_messages_of_a_service_name_every_topic_that_it_writes(service: str) -> None:
    said = await said_by(service, "asyncapi.json")
    writes = {topic.name for topic in CATALOGUE if topic.producer == service}
    assert writes <= said["channels"].keys()
    assert {name.removeprefix("send-") for name in said["operations"] if name.startswith("send-")} == writes


@pytest.mark.parametrize("service", SERVICES)
async def test_the_description_of_messages_is_a_valid_document(service: str) -> None:
    said = await said_by(service, "asyncapi.json")
    assert said["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= said["info"].keys()
    by_name = {topic.name: topic for topic in CATALOGUE}
    for name, channel in said["channels"].items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        assert channel["address"] == name
        assert channel["messages"].keys() == by_name[name].types.keys()
    for operation in said["operations"].values():
        assert operation["action"] in ("send", "receive")
    for reference in set(references(said)):
        assert resolved(said, reference) is not None
    for schema in said["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("service", SERVICES)
async def test_the_description_of_http_is_openapi_3_1_and_names_the_calls_of_the_contract(service: str) -> None:
    said = await said_by(service, "openapi.json")
    assert said["openapi"].startswith("3.1")
    assert all(path.startswith(("/v1/", "/console", "/b/")) for path in said["paths"])
    for reference in set(references(said)):
        assert resolved(said, reference) is not None
    operations = [one["operationId"] for path in said["paths"].values() for one in path.values()]
    assert len(operations) == len(set(operations))
    assert all(one.get("summary") for path in said["paths"].values() for one in path.values())


def test_a_service_receives_what_another_one_writes() -> None:
    said = describe("Dunwell scheduler", "1", (FACTS, TASKS))
    assert {name: one["action"] for name, one in said["operations"].items()} == {
        "receive-dunning.overdue-facts": "receive",
        "send-dunning.contact-tasks": "send",
    }


def test_a_fact_s_attributes_beside_its_data_are_described() -> None:
    said = describe("Dunwell ingest", "1", (FACTS, TASKS))
    headers = said["channels"][FACTS.name]["messages"]["debt.cured.v1"]["headers"]
    Draft202012Validator.check_schema(headers)
    days = (CorrectedDays(date(2026, 11, 3), date(2026, 11, 5), owed=False),)
    assert {f"ce_{name}" for name in written(days)} == headers["properties"].keys()
    assert all("headers" not in message for message in said["channels"][TASKS.name]["messages"].values())


def test_the_examples_are_valid_by_the_described_schemas_too() -> None:
    said = describe("Dunwell ingest", "1", CATALOGUE)
    examples = {path.name.removesuffix(".json"): read(example_of(path)) for path in generated()}
    for channel in said["channels"].values():
        for name, message in channel["messages"].items():
            Draft202012Validator({**message["payload"], "components": said["components"]}).validate(examples[name])


def test_a_reader_skips_fields_that_it_does_not_know() -> None:
    types = {name: struct for topic in CATALOGUE for name, struct in topic.types.items()}
    for path, schema in generated().items():
        example, struct = read(example_of(path)), types[path.name.removesuffix(".json")]
        known = msgspec.convert(example, struct)
        assert msgspec.convert({**example, "from_the_future": {"a": [1]}}, struct) == known
        assert "additionalProperties" not in schema
