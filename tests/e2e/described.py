"""Makes calls, and checks each answer against its description: nothing is missing, nothing is undescribed."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from libs.common.describing import name_of
from tests.e2e.world import World

OPEN_ENDED = {"VersionWhole", "PackRule", "ProviderEvent"}
"""Shapes with further fields that depend on the kind of thing described."""
YAML = {"Content-Type": "application/yaml"}
SECOND = {"Authorization": "Bearer dunwell-dev-2"}
EMPTY = {"getCoverage", "getReportsExperiments", "getReportsFeedback", "getReportsPromises"}
"""Lists that are empty here."""


class Seen:
    """The calls that were made, by service and name, and what was wrong with their answers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: set[str] = set()
        self.wrong: list[str] = []
        self.said: dict[str, Any] = {}

    async def ask(self, method: str, path: str, template: str, body: Any = None, **sent: Any) -> Any:
        """Make a call and return its answer; `sent` goes to the client."""
        service = path.split("/")[1]
        if service not in self.said:
            self.said[service] = closed(await self.world.get(f"/{service}/openapi.json"))
        said, name = self.said[service], name_of(method, template)
        answer = await self.world.http.request(method, path, json=body, **sent)
        assert answer.status_code < 300, (name, answer.text)
        operation = said["paths"][template][method.lower()]
        assert operation["operationId"] == name
        schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
        errors = Draft202012Validator({**schema, "components": said["components"]}).iter_errors(answer.json())
        self.wrong += [f"{name} {'/'.join(map(str, error.path))}: {error.message[:300]}" for error in errors]
        shown = answer.json()
        if "items" in shown and not shown["items"] and name not in EMPTY and "switch" not in path:
            self.wrong.append(f"{name}: nothing stands there")
        self.names |= {f"{service}.{name}", f"{service}.{name}:{answer.status_code}"}
        return shown


def closed(said: Any) -> Any:
    """Return a description in which our shapes allow only the described fields."""
    for name, schema in said["components"]["schemas"].items():
        if schema.get("type") == "object" and "properties" in schema and name not in OPEN_ENDED:
            schema.setdefault("additionalProperties", False)
    return said
