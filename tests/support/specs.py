"""Checks requests against the providers' own API descriptions, read strictly: what a description does not name is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from jsonschema import Draft202012Validator

from services.notifier.providers.wire import HttpCall

FOLDER = Path(__file__).parents[1] / "data" / "specs"
FORM = "application/x-www-form-urlencoded"


def spec(name: str) -> dict[str, Any]:
    """Return an excerpt of a provider's description."""
    return msgspec.json.decode((FOLDER / f"{name}.json").read_bytes(), type=dict[str, Any])


def validate(instance: object, schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Validate a value against a schema of a document; members that it does not name are refused."""
    Draft202012Validator({**_strict(document), **_strict(schema)}, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(instance)


def check(call: HttpCall, name: str, path: str, *, method: str = "post") -> Any:
    """Validate a call against an operation of an OpenAPI document, and return its decoded body."""
    document = spec(name)
    operation = document["paths"][path][method]
    split = urlsplit(call.url)
    _check_path(split.path, path, document, operation)
    assert not split.query
    for parameter in (_resolved(one, document) for one in operation.get("parameters", ())):
        if parameter["in"] == "header" and parameter.get("required"):
            assert call.headers.get(parameter["name"].lower()), parameter["name"]
    content = _resolved(operation["requestBody"], document)["content"]
    kind = call.headers["content-type"].partition(";")[0]
    schema = _resolved(content[kind]["schema"], document)
    body = _fields(call.body, schema) if kind == FORM else msgspec.json.decode(call.body)
    validate(body, schema, document)
    return body


def check_query(call: HttpCall, name: str, path: str) -> dict[str, str]:
    """Validate a read-only call against an operation of an OpenAPI document, and return its query."""
    document = spec(name)
    operation = document["paths"][path]["get"]
    split = urlsplit(call.url)
    _check_path(split.path, path, document, operation)
    assert (call.method, call.body) == ("GET", b"")
    schemas = {one["name"]: one["schema"] for one in operation["parameters"] if one["in"] == "query"}
    pairs = parse_qsl(split.query, keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    for part, value in pairs:
        validate(_typed(value, schemas[part]["type"]), schemas[part], document)
    return dict(pairs)


def _check_path(called: str, path: str, document: dict[str, Any], operation: dict[str, Any]) -> None:
    """Validate the path against the template, after the path of any of the servers, and its parts against their schemas."""
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))
    servers = [urlsplit(server["url"]).path for server in document["servers"]]
    found = next((hit for server in servers if (hit := re.fullmatch(re.escape(server.removesuffix(path)) + pattern, called))), None)
    assert found, (called, servers, path)
    schemas = {one["name"]: one["schema"] for one in operation.get("parameters", ()) if one.get("in") == "path"}
    for part, value in found.groupdict().items():
        validate(unquote(value), schemas[part], document)


def _fields(body: bytes, schema: dict[str, Any]) -> dict[str, Any]:
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return {name: _typed(value, schema["properties"].get(name, {}).get("type")) for name, value in pairs}


def _typed(value: str, kind: str | None) -> Any:
    match kind:
        case "integer":
            return int(value)
        case "number":
            return float(value)
        case "boolean":
            return {"true": True, "false": False}[value]
        case _:
            return value


def _resolved(value: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in value:
        found: Any = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def _strict(value: Any) -> Any:
    """Return a schema in which every object with named members has no others."""
    if isinstance(value, list):
        return [_strict(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {name: _strict(one) for name, one in value.items()}
    if isinstance(value.get("properties"), dict) and "additionalProperties" not in value:
        made["additionalProperties"] = False
    return made
