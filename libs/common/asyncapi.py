"""The generated AsyncAPI document and the JSON Schemas of every message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from libs.common.contracts.catalogue import Topic

_REF = "#/components/schemas/{name}"


def schemas(topics: Sequence[Topic]) -> dict[str, Any]:
    """Return the JSON Schema of every message type on these topics, by struct name."""
    structs = {struct for topic in topics for struct in topic.types.values()}
    return components_of(sorted(structs, key=lambda s: s.__name__), ref_template=_REF)


def components_of(structs: Sequence[type[msgspec.Struct]], *, ref_template: str) -> dict[str, Any]:
    """Return the JSON Schemas of these structs and of all they contain, by name."""
    _, components = msgspec.json.schema_components(structs, ref_template=ref_template)
    return {name: _as_read(schema) for name, schema in components.items()}


def _as_read(schema: Any) -> Any:
    """Describe decimals as our decoder takes them, numbers included; msgspec only names the form in which it writes them."""
    if isinstance(schema, list):
        return [_as_read(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    read = {name: _as_read(part) for name, part in schema.items()}
    return {**read, "type": ["number", "string"]} if schema.get("format") == "decimal" else read


def describe(title: str, version: str, topics: Sequence[Topic]) -> dict[str, Any]:
    """Return the AsyncAPI 3 document of a service: what it sends and receives; the title ends with the service's name."""
    actions = {topic.name: "send" if title.endswith(topic.producer) else "receive" for topic in topics}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": "CloudEvents 1.0 in binary mode on Apache Kafka."},
        "defaultContentType": "application/json",
        "channels": {
            topic.name: {"address": topic.name, "messages": {name: _message(name, struct, topic) for name, struct in topic.types.items()}}
            for topic in topics
        },
        "operations": {
            f"{action}-{name}": {"action": action, "channel": {"$ref": f"#/channels/{name}"}} for name, action in actions.items()
        },
        "components": {"schemas": schemas(topics)},
    }


def _message(name: str, struct: type[msgspec.Struct], topic: Topic) -> dict[str, Any]:
    said = {"name": name, "title": (struct.__doc__ or name).splitlines()[0], "payload": {"$ref": _REF.format(name=struct.__name__)}}
    if not topic.extensions:
        return said
    return {**said, "headers": {"type": "object", "properties": {f"ce_{key}": dict(value) for key, value in topic.extensions.items()}}}
