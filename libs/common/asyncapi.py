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
    _, components = msgspec.json.schema_components(sorted(structs, key=lambda s: s.__name__), ref_template=_REF)
    return dict(components)


def describe(title: str, version: str, topics: Sequence[Topic]) -> dict[str, Any]:
    """Return the AsyncAPI 3 document of a service: what it writes and what it reads."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": "CloudEvents 1.0 in binary mode on Apache Kafka."},
        "defaultContentType": "application/json",
        "channels": {
            topic.name: {"address": topic.name, "messages": {name: _message(name, struct) for name, struct in topic.types.items()}}
            for topic in topics
        },
        "operations": {
            f"{'receive' if topic.producer == 'wallet' else 'send'}-{topic.name}": {
                "action": "receive" if topic.producer == "wallet" else "send",
                "channel": {"$ref": f"#/channels/{topic.name}"},
            }
            for topic in topics
        },
        "components": {"schemas": schemas(topics)},
    }


def _message(name: str, struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"name": name, "title": (struct.__doc__ or name).splitlines()[0], "payload": {"$ref": _REF.format(name=struct.__name__)}}
