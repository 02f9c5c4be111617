"""The committed JSON Schemas of all messages: written by `make schemas`, which refuses changes that would break a reader.

One file per message type, `docs/schemas/<topic>/<type>.json`, for the data of the CloudEvent. Within a version only optional fields may
be added; the committed schema is the baseline for that.
"""

from __future__ import annotations

import json
import re
import sys
import zoneinfo
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec
from jsonschema import Draft202012Validator, FormatChecker

from libs.common.asyncapi import components_of
from libs.common.contracts.catalogue import CATALOGUE

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LOWER_IS_NARROWER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_HIGHER_IS_NARROWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")

Schema = dict[str, Any]


def main() -> int:
    """Write the schemas; if one of them would break a reader, write nothing and return exit status 1."""
    broken = [f"{path}: {why}" for path, schema in generated().items() if path.exists() for why in breaks(read(path), schema)]
    if broken:
        print("within a version only optional fields may be added; make a new version of the type instead:", *broken, sep="\n  ")
        return 1
    for path, schema in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(schema))
    print(f"{len(generated())} schemas written to {SCHEMAS}")
    return 0


def generated() -> dict[Path, Schema]:
    """Return the schema of every message type by file."""
    return {
        SCHEMAS / topic.name / f"{name}.json": schema_of(name, struct)
        for topic in CATALOGUE
        for name, struct in sorted(topic.types.items())
    }


def schema_of(name: str, struct: type[msgspec.Struct]) -> Schema:
    """Return the schema of a message type, including everything it refers to."""
    components = components_of([struct], ref_template="#/$defs/{name}")
    own = components.pop(struct.__name__)
    defs = {"$defs": dict(sorted(components.items()))} if components else {}
    return {"$schema": DIALECT, "$id": f"urn:dunwell:schema:{name}", **own, "title": name, **defs}


def example_of(path: Path) -> Path:
    """Return the example file that belongs to a schema file."""
    return path.with_name(path.name.removesuffix(".json") + ".example.json")


def read(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_bytes())


def written(schema: Schema) -> str:
    """Return the canonical text in which a schema is committed."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def breaks(before: Schema, after: Schema, place: str = "$") -> list[str]:
    """Return the changes that would break a formerly valid value or a reader of such values: none for a compatible change."""
    return list(_breaks(before, after, place))


def _breaks(before: Mapping[str, Any], after: Mapping[str, Any], place: str) -> Iterator[str]:
    yield from _narrowed(before, after, place)
    for parts in (_properties, _definitions, _alternatives):
        there = parts(after)
        for name, old in parts(before).items():
            if name not in there:
                yield f"{place}.{name} has vanished"
            else:
                yield from _breaks(old, there[name], f"{place}.{name}")
    yield from (f"{place}.{name} is required and was not" for name in after.get("required", ()) if name not in before.get("required", ()))
    yield from (f"{place}.{name} was required and is not" for name in before.get("required", ()) if name not in after.get("required", ()))
    for part in ("items", "additionalProperties"):
        old, new = before.get(part), after.get(part)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _breaks(old, new, f"{place}[]")
        elif new is not None and old is None and new is not True:
            yield f"{place}: {part} says what was free"


def _narrowed(before: Mapping[str, Any], after: Mapping[str, Any], place: str) -> Iterator[str]:
    if gone := _choices(before) - _choices(after):
        yield f"{place} may no longer be {', '.join(sorted(gone))}"
    for word in ("$ref", "pattern", "format", "const"):
        if before.get(word) != after.get(word) and after.get(word) is not None:
            yield f"{place}: {word} is {after[word]!r} and was {before.get(word)!r}"
    for word in (*_LOWER_IS_NARROWER, *_HIGHER_IS_NARROWER):
        old, new = before.get(word), after.get(word)
        if new is not None and (old is None or (new < old if word in _LOWER_IS_NARROWER else new > old)):
            yield f"{place}: {word} is {new} and was {old}"


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(schema.get("properties", {}))


def _definitions(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {f"$defs.{name}": one for name, one in schema.get("$defs", {}).items()}


def _alternatives(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {str(one.get("$ref", one.get("type", "enum"))): one for one in schema.get("anyOf", ())}


def _choices(schema: Mapping[str, Any]) -> set[str]:
    """Return the types and enumerated values that a value may have."""
    kinds = schema.get("type", [])
    return {f"a {kind}" for kind in ([kinds] if isinstance(kinds, str) else kinds)} | {
        json.dumps(value) for value in schema.get("enum", ())
    }


def validator(schema: Schema) -> Draft202012Validator:
    """Return a validator that also checks formats, and knows every format that our schemas use."""
    return Draft202012Validator(schema, format_checker=FORMATS)


def formats_in(schema: object) -> set[str]:
    """Return the formats that a schema names."""
    if isinstance(schema, dict):
        here = {schema["format"]} if isinstance(schema.get("format"), str) else set()
        return here.union(*(formats_in(part) for part in schema.values()))
    return set().union(*(formats_in(part) for part in schema)) if isinstance(schema, list) else set()


FORMATS = FormatChecker(formats=())
_DURATION = re.compile(r"P(?=.)(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?)")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")


@FORMATS.checks("date-time", ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or (_MOMENT.fullmatch(value) is not None and datetime.fromisoformat(value).tzinfo is not None)


@FORMATS.checks("date", ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or date.fromisoformat(value).isoformat() == value


@FORMATS.checks("duration")
def _is_duration(value: object) -> bool:
    return not isinstance(value, str) or _DURATION.fullmatch(value) is not None


@FORMATS.checks("decimal", InvalidOperation)
def _is_decimal(value: object) -> bool:
    return not isinstance(value, str) or Decimal(value).is_finite()


@FORMATS.checks("time-zone")
def _is_zone(value: object) -> bool:
    return not isinstance(value, str) or value in zoneinfo.available_timezones()


if __name__ == "__main__":
    sys.exit(main())
