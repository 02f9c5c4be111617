"""The committed schemas and examples match the code, and what readers rely on stays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError

from libs.common.contracts.catalogue import CATALOGUE
from tests.support import schemas
from tests.support.schemas import FORMATS, SCHEMAS, Schema, breaks, example_of, formats_in, generated, read, validator, written

TYPES = [pytest.param(topic.name, name, struct, id=f"{topic.name}/{name}") for topic in CATALOGUE for name, struct in topic.types.items()]


def file_of(topic: str, name: str) -> Path:
    return SCHEMAS / topic / f"{name}.json"


@pytest.mark.parametrize(("topic", "name", "struct"), TYPES)
def test_the_committed_schema_is_the_generated_one(topic: str, name: str, struct: type[msgspec.Struct]) -> None:
    path = file_of(topic, name)
    assert path.exists(), "run make schemas"
    assert path.read_text() == written(schemas.schema_of(name, struct)), "run make schemas"


@pytest.mark.parametrize(("topic", "name", "struct"), TYPES)
def test_a_reader_of_the_committed_schema_still_understands_what_we_say(topic: str, name: str, struct: type[msgspec.Struct]) -> None:
    assert breaks(read(file_of(topic, name)), schemas.schema_of(name, struct)) == []


@pytest.mark.parametrize(("topic", "name", "struct"), TYPES)
def test_the_example_is_valid_and_comes_back_the_same_from_our_code(topic: str, name: str, struct: type[msgspec.Struct]) -> None:
    path = file_of(topic, name)
    example = read(example_of(path))
    validator(read(path)).validate(example)
    value = msgspec.json.decode(example_of(path).read_bytes(), type=struct)
    again = msgspec.json.encode(value)
    validator(read(path)).validate(msgspec.json.decode(again))
    assert msgspec.json.decode(again, type=struct) == value


@pytest.mark.parametrize(("topic", "name", "struct"), TYPES)
def test_an_example_without_a_required_field_is_refused_by_the_schema_and_by_our_code(
    topic: str, name: str, struct: type[msgspec.Struct]
) -> None:
    path = file_of(topic, name)
    for field in read(path)["required"]:
        without = {key: value for key, value in read(example_of(path)).items() if key != field}
        with pytest.raises(ValidationError):
            validator(read(path)).validate(without)
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(without), type=struct)


def test_nothing_stands_among_the_schemas_that_the_catalogue_does_not_know() -> None:
    known = {path for schema in generated() for path in (schema, example_of(schema))}
    assert {path for path in SCHEMAS.rglob("*") if path.is_file()} == known


def test_a_type_on_two_topics_is_the_same_message() -> None:
    seen: dict[str, type[msgspec.Struct]] = {}
    for topic in CATALOGUE:
        for name, struct in topic.types.items():
            assert seen.setdefault(name, struct) is struct


def test_every_type_carries_its_version() -> None:
    assert [name for topic in CATALOGUE for name in topic.types if not name.endswith(".v1")] == []


def test_every_schema_is_one_and_every_format_in_it_is_checked() -> None:
    for schema in generated().values():
        Draft202012Validator.check_schema(schema)
        assert formats_in(schema) <= set(FORMATS.checkers)


@pytest.mark.parametrize(
    ("form", "bad"),
    [
        ("date-time", "2026-11-22T10:00:00"),
        ("date-time", "2026-02-30T10:00:00Z"),
        ("date", "2026-02-30"),
        ("date", "20260228"),
        ("duration", "P"),
        ("duration", "4 hours"),
        ("decimal", "NaN"),
        ("decimal", "much"),
    ],
)
def test_the_check_of_formats_has_been_seen_failing(form: str, bad: str) -> None:
    with pytest.raises(ValidationError):
        validator({"type": "string", "format": form}).validate(bad)


BEFORE: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "maxLength": 10},
        "kind": {"enum": ["a", "b"]},
        "until": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}},
    },
    "required": ["id"],
    "$defs": {"Row": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
}


def _optional(after: Schema) -> None:
    after["properties"]["note"] = {"type": "string"}
    after["$defs"]["Row"]["properties"]["m"] = {"type": "integer"}
    after["properties"]["kind"]["enum"].append("c")
    after["properties"]["id"]["maxLength"] = 20


def _vanished(after: Schema) -> None:
    del after["properties"]["kind"]


def _required(after: Schema) -> None:
    after["required"].append("kind")


def _optional_now(after: Schema) -> None:
    after["required"].remove("id")


def _retyped(after: Schema) -> None:
    after["$defs"]["Row"]["properties"]["n"]["type"] = "string"


def _fewer_choices(after: Schema) -> None:
    after["properties"]["kind"]["enum"].remove("b")


def _never_null(after: Schema) -> None:
    after["properties"]["until"]["anyOf"].pop()


def _shorter(after: Schema) -> None:
    after["properties"]["id"]["maxLength"] = 9


def _patterned(after: Schema) -> None:
    after["properties"]["id"]["pattern"] = "^x"


def test_a_new_optional_field_and_wider_values_break_nobody() -> None:
    after = copy.deepcopy(BEFORE)
    _optional(after)
    assert breaks(BEFORE, BEFORE) == []
    assert breaks(BEFORE, after) == []


@pytest.mark.parametrize("change", [_vanished, _required, _optional_now, _retyped, _fewer_choices, _never_null, _shorter, _patterned])
def test_every_change_that_breaks_a_reader_is_seen(change: Callable[[Schema], None]) -> None:
    after = copy.deepcopy(BEFORE)
    change(after)
    assert len(breaks(BEFORE, after)) == 1


def test_make_schemas_refuses_to_write_what_breaks_a_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schemas, "SCHEMAS", tmp_path)
    assert schemas.main() == 0
    path = tmp_path / "dunning.overdue-facts" / "debt.watermark.v1.json"
    older = read(path)
    older["properties"]["gone"] = {"type": "string"}
    path.write_text(written(older))
    capsys.readouterr()
    assert schemas.main() == 1
    assert "$.gone has vanished" in capsys.readouterr().out
    assert read(path) == older
