"""A service's calls as one readable page: made from its OpenAPI document, no script, nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from libs.common.pages import Page

_SCHEMA = "#/components/schemas/"
_RESPONSE = "#/components/responses/"


@dataclass(frozen=True, slots=True)
class Body:
    """A request or answer body: `about` says which it is, followed by its media type and schema."""

    about: str
    media: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """An operation as the page shows it; `refusals` are those shared by many calls."""

    name: str
    method: str
    path: str
    summary: str
    scopes: tuple[str, ...]
    parameters: tuple[Mapping[str, Any], ...]
    bodies: tuple[Body, ...]
    refusals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """The compiled page."""

    page: Page

    @classmethod
    def load(cls) -> Reference:
        """Compile the shipped templates."""
        return cls(Page.load(__package__, "reference.html.j2", "reference.css.j2"))

    def render(self, said: Mapping[str, Any]) -> str:
        """Return the page for an OpenAPI document."""
        components = said.get("components", {})
        return self.page.template.render(
            info=said["info"],
            calls=calls_by_tag(said),
            refusals=components.get("responses", {}),
            schemas=dict(sorted(components.get("schemas", {}).items())),
            name_in=name_in,
            written=written,
        )


def calls_by_tag(said: Mapping[str, Any]) -> dict[str, list[Call]]:
    """Return all calls under their first tag, in the order of the document."""
    found: dict[str, list[Call]] = {}
    for path, operations in said["paths"].items():
        for method, operation in operations.items():
            found.setdefault(operation["tags"][0], []).append(_call(method, path, operation))
    return found


def _call(method: str, path: str, said: Mapping[str, Any]) -> Call:
    sent = [("body", said["requestBody"])] if "requestBody" in said else []
    answered = [(code, one) for code, one in said["responses"].items() if "$ref" not in one]
    return Call(
        said["operationId"], method.upper(), path, said["summary"],
        tuple(scope for scheme in said["security"] for scopes in scheme.values() for scope in scopes),
        tuple({"required": False, "description": "", "schema": {}, **one} for one in said.get("parameters", ())),
        tuple(body for about, one in (*sent, *answered) for body in _bodies(about, one)),
        tuple(one["$ref"].removeprefix(_RESPONSE) for one in said["responses"].values() if "$ref" in one),
    )  # fmt: skip


def _bodies(about: str, said: Mapping[str, Any]) -> list[Body]:
    return [Body(about, media, one.get("schema", {})) for media, one in said.get("content", {"": {}}).items()]


def name_in(schema: Mapping[str, Any]) -> str | None:
    """Return the name of the schema that this one refers to, directly or as the items of a page; None if it is self-contained."""
    items = schema.get("properties", {}).get("items", {}).get("items", {})
    ref = schema.get("$ref") or items.get("$ref")
    return None if ref is None else str(ref).removeprefix(_SCHEMA)


def written(schema: object, indent: int | None = 2) -> str:
    """Return a schema as text."""
    return json.dumps(schema, indent=indent, ensure_ascii=False)
