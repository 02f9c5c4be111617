"""Completes the OpenAPI document of every service: names of calls, who may make them, what they answer and how they refuse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, get_args, get_origin

import msgspec
from fastapi import FastAPI
from msgspec import Struct

from libs.common.answering_once import BY_THEIR_OWN_IDS, HEADER, WRITES
from libs.common.asyncapi import components_of
from libs.common.auth import SCHEME
from libs.common.problems import PROBLEM

Shapes = Mapping[str, Any]
"""What calls answer, by operation id: a struct, or a list for a page of them. `id:code` is the answer under an unusual status."""

_REF = "#/components/schemas/{name}"
_DONE = ("200", "201", "202")
_MADE_BY_FASTAPI = ("HTTPValidationError", "ValidationError")
_REFUSALS = {
    "400": "the body is not JSON",
    "401": "no valid key or token",
    "403": "the key or token lacks the scope",
    "404": "nothing is known by this id",
    "409": "it conflicts with the present state, or the first call under this Idempotency-Key is still under way",
    "412": "somebody has changed it since you read it (`changed_meanwhile`)",
    "413": "the body is too large",
    "415": "the content type is not supported",
    "422": "the request is invalid: `detail` says where and why; so is, in calls that need a key, one with a query parameter that is not"
    " described here",
    "428": "If-Match is needed",
    "503": "try again after `Retry-After` seconds",
}
_IF_MATCH = "If-Match"
_PROBLEM = {
    "type": "object", "required": ["type", "title", "status", "detail", "code"], "description": "A problem document (RFC 9457)",
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:dunwell:problem:not_found"]},
        "title": {"type": "string", "examples": ["Not Found"]},
        "status": {"type": "integer", "examples": [404]},
        "detail": {"type": "string", "description": "One sentence for a person", "examples": ["no loan L1 is known"]},
        "code": {"type": "string", "description": "Stable; for programs to test", "examples": ["not_found"]},
    },
}  # fmt: skip
_IDEMPOTENCY_KEY = {
    "name": HEADER, "in": "header", "required": False, "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "the same call under the same key within 24 hours gets the first answer again and is not done twice",
}  # fmt: skip


def complete(app: FastAPI, shapes: Shapes) -> None:
    """Make the app describe itself well enough to generate clients from it."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(described(), shapes)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents for extending OpenAPI


def name_of(method: str, path: str) -> str:
    """Return the operation id of a call, made from its method and path: `getLoanStatement`, `claimTask`, `putProduct`."""
    path, _, action = path.removeprefix("/v1/").partition(":")
    parts = path.split("/")
    named = parts[:1] if len(parts) == 1 else []
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        if not part.startswith("{") and len(parts) > 1:
            named.append(_one_of(part) if following.startswith("{") else part)
    first, *rest = [word for part in (action or method.lower(), *named) for word in re.split(r"\W|_", part) if word]
    return first + "".join(word[0].upper() + word[1:] for word in rest)


def _one_of(many: str) -> str:
    return many[:-3] + "y" if many.endswith("ies") else many.removesuffix("s")


def _complete(said: dict[str, Any], shapes: Shapes) -> None:
    components = said.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _MADE_BY_FASTAPI:
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    structs = {item for shape in shapes.values() if issubclass(item := _item(shape), Struct)}
    schemas.update(components_of(sorted(structs, key=lambda s: s.__name__), ref_template=_REF))
    scheme = next(iter(components.get("securitySchemes", {}).values()), None)
    components["securitySchemes"] = {} if scheme is None else {SCHEME: scheme}
    components["responses"] = {code: _refusal(code, what) for code, what in _REFUSALS.items()}
    for path, operations in said["paths"].items():
        for method, operation in operations.items():
            operation["operationId"] = name = name_of(method, path)
            operation.setdefault("tags", [path.removeprefix("/v1/").partition("/")[0].partition(":")[0]])
            _let_in(operation)
            _ask(operation, method, path)
            _answer(operation, shapes.get(name))
            _answer_otherwise(operation, {code: shapes[key] for code in _DONE if (key := f"{name}:{code}") in shapes})
            _refuse(operation, method, path)


def _let_in(operation: dict[str, Any]) -> None:
    """Add the scope a call needs, taken from the name of its scheme; a call without one is open to all."""
    scopes = [name.removeprefix(f"{SCHEME}/") for scheme in operation.get("security", ()) for name in scheme]
    operation["security"] = [{SCHEME: scopes}] if scopes else []
    for scope in scopes:
        operation["description"] = "\n\n".join(filter(None, [operation.get("description"), f"Scope: `{scope}`."]))


def _ask(operation: dict[str, Any], method: str, path: str) -> None:
    if method.upper() in WRITES and not path.endswith(BY_THEIR_OWN_IDS):
        operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    for parameter in operation.get("parameters", ()):
        if parameter["name"].lower() == _IF_MATCH.lower():
            parameter |= {"name": _IF_MATCH, "description": "the ETag that you have read; `*` matches any"}


def _answer(operation: dict[str, Any], shape: Any) -> None:
    done = next((code for code in _DONE if code in operation["responses"]), None)
    in_pages = any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ()))
    if done is None or (shape is None and not in_pages):
        return
    schema = _page_of({"type": "object"}) if shape is None else _schema_of(shape)
    operation["responses"][done].setdefault("content", {})["application/json"] = {"schema": schema}


def _answer_otherwise(operation: dict[str, Any], shapes: Mapping[str, Any]) -> None:
    for code, shape in shapes.items():
        content = {"application/json": {"schema": _schema_of(shape)}}
        operation["responses"][code] = {"description": HTTPStatus(int(code)).phrase, "content": content}


def _schema_of(shape: Any) -> dict[str, Any]:
    item = _item(shape)
    schema: dict[str, Any] = {"$ref": _REF.format(name=item.__name__)} if issubclass(item, Struct) else msgspec.json.schema(item)
    return _page_of(schema) if get_origin(shape) is list else schema


def _refuse(operation: dict[str, Any], method: str, path: str) -> None:
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    codes = {"422", "503"}
    if operation["security"]:
        codes |= {"401", "403"}
    if "{" in path:
        codes.add("404")
    if "requestBody" in operation:
        codes |= {"400", "413"}
    if method.upper() in WRITES:
        codes.add("409")
    if _IF_MATCH in names:
        codes |= {"412", "428"}
    for code in sorted(codes):
        operation["responses"][code] = {"$ref": f"#/components/responses/{code}"}


def _refusal(code: str, what: str) -> dict[str, Any]:
    made: dict[str, Any] = {"description": what, "content": {PROBLEM: {"schema": {"$ref": _REF.format(name="Problem")}}}}
    if code == "503":
        made["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    return made


def _item(shape: Any) -> Any:
    return get_args(shape)[0] if get_origin(shape) is list else shape


def _page_of(ref: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": ref},
            "next": {"type": ["string", "null"], "description": "the `cursor` of the next page; null on the last one"},
        },
    }  # fmt: skip
