"""What a log line may hold: fields of an allow-list, ids in clear, personal data never."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from libs.common import logs

PHONE, NAME, MAIL = "+447700900123", "Canary Borrower", "canary@example.org"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, kept = logging.getLogger(), logging.getLogger().handlers[:]
    level, before = root.level, structlog.get_config()
    yield
    root.handlers[:] = kept
    root.setLevel(level)
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object_with_the_fixed_keys(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("ingest", "1.2.3")
    logs.get("ledger").info("taken", loan_id="L1", events=3)
    [line] = lines(capsys)
    assert line.keys() == {"timestamp", "level", "event", "service", "version", "part", "loan_id", "events"}
    assert (line["service"], line["version"], line["part"], line["level"]) == ("ingest", "1.2.3", "ledger", "info")


def test_a_field_that_is_not_on_the_list_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("notifier", "1")
    logs.get("sender").warning(
        "refused", borrower_id="B1", name=NAME, phone=PHONE, address=PHONE, to=MAIL, body=NAME, variables={"name": NAME}, token="dw_secret",
        parameters=[PHONE], text=NAME, payload=MAIL,
    )  # fmt: skip
    [line] = lines(capsys)
    assert line["borrower_id"] == "B1"
    assert line.keys() <= logs.FIELDS
    for canary in (PHONE, NAME, MAIL, "dw_secret"):
        assert canary not in json.dumps(line)


def test_every_line_of_ours_is_documented_and_every_field_that_it_names_is_written() -> None:
    root = Path(__file__).parents[3]
    sources = [file.read_text() for room in ("services", "libs") for file in (root / room).rglob("*.py")]
    calls = [node for source in sources if "logs" in source for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    ours = [call for call in calls if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value).startswith("logs.get(")]
    named = {field.arg for call in ours for field in call.keywords if field.arg is not None}
    assert named - {"exc_info"} <= logs.FIELDS - {"version"}, "the version is that of the release"
    events = {call.args[0].value for call in ours if isinstance(call.args[0], ast.Constant)}
    assert len(events) > 40
    assert events <= set(re.findall(r"`([a-z_]+)`", (root / "docs" / "operations.md").read_text()))


def test_what_a_part_has_bound_is_judged_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("notifier", "1")
    logs.get("sender").bind(recipient=PHONE).info("sent", task_id="t-1")
    assert PHONE not in capsys.readouterr().err


def test_lines_of_libraries_go_through_the_same_sieve(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("notifier", "1")
    logging.getLogger("some.library").warning("slow answer", extra={"recipient": PHONE, "name_of": NAME})
    logging.getLogger("some.library").info("chatter")
    [line] = lines(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("slow answer", "some.library", "warning")
    assert PHONE not in json.dumps(line)


def test_no_field_of_the_list_invites_personal_data() -> None:
    assert not {"name", "phone", "address", "email", "to", "body", "text", "message", "variables", "token", "authorization"} & logs.FIELDS


def test_a_level_that_was_not_asked_for_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("ingest", "1", level="WARNING")
    logs.get("ledger").info("taken")
    logs.get("ledger").error("broken")
    assert [line["event"] for line in lines(capsys)] == ["broken"]


def test_a_library_that_says_the_same_again_and_again_is_heard_every_ten_seconds() -> None:
    moment = 0.0
    seldom = logs.Seldom(lambda: moment)

    def heard(message: str, *args: object) -> bool:
        return seldom.filter(logging.LogRecord("aiokafka", logging.ERROR, "", 0, message, args, None))

    assert [heard("node %s is away", n) for n in (1, 2, 1)] == [True, False, False]
    assert heard("another sentence")
    moment = 9.9
    assert not heard("node %s is away", 1)
    moment = 10.0
    assert heard("node %s is away", 1)
