"""A statement as JSON, CSV and a page: the same lines and sums in each, and nothing executable."""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from libs.common.contracts.overdue_facts import Doubt
from services.ingest.domain.events import ChargeAdded, Component, Disbursed, LoanEvent, Repaid, RepaymentReversed, WrittenOff
from services.ingest.domain.product import DEFAULT, ProductLine
from services.ingest.domain.statement import stated
from services.ingest.domain.value import replace
from services.ingest.statement_forms import Stated, csv_pieces, document
from services.ingest.statement_page import StatementPage
from tests.unit.ingest_domain.loans import LAST, LOAN, event_sets, on, place, products, repaid

MADE_AT = datetime(2026, 3, 1, 20, 30, tzinfo=UTC)
PAGE = StatementPage.load()
HOSTILE = "<script>alert('x')</script>\"&"
VOID = {"meta", "link", "br", "img", "input"}


def made(events: list[LoanEvent], day: int, product: ProductLine = DEFAULT, **record: Any) -> Stated:
    found = stated(events, product, on(day))
    assert found is not None
    return Stated("L1", MADE_AT, None, {"version": 1, "events": len(events), "doubt": None, **record}, found)


def as_json(one: Stated) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(msgspec.json.encode(document(one)))
    return said


def as_table(one: Stated) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(csv_pieces(one)).decode(), newline="")))


@dataclass
class Cell:
    """A cell of a table, with the attributes of its element."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Table:
    """A table as a screen reader sees it."""

    caption: str = ""
    rows: list[list[Cell]] = field(default_factory=list)


class Read(HTMLParser):
    """The page, parsed strictly: every element is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags = Counter[str]()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tables: list[Table] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    @property
    def words(self) -> str:
        """Its text, regardless of line breaks."""
        return " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("td", "th"):
            self.tables[-1].rows[-1].append(Cell(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += f" {data} "
        if "caption" in self._open:
            self.tables[-1].caption += data
        if {"td", "th"} & set(self._open):
            self.tables[-1].rows[-1][-1].text += data


def lines_of(page: Read) -> list[tuple[int, str, str]]:
    """The rows of the last table that goes line by line: number, amount, outstanding."""
    [table] = [one for one in page.tables if "Any line can be disputed" in one.caption]
    return [(int(row[0].text), row[-2].text.strip(), row[-1].text.strip()) for row in table.rows[1:]]


def minor(text: str) -> int:
    return int(Decimal(text.replace(",", "")) * 100)


@settings(deadline=None, max_examples=40)
@given(events=event_sets(), product=products(), day=st.integers(0, LAST + 10))
def test_every_form_has_the_same_lines_and_sums(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    assume(stated(events, product, on(day)) is not None)
    one = made(events, day, product)
    said, table, page = as_json(one), as_table(one), Read(PAGE.render(one))
    numbered = [(row["number"], row["amount"], row["balance"]) for row in table if row["row"] in ("entry", "line")]
    expected: list[tuple[int, int | None, int]] = []
    for entry in said["entries"]:
        expected.append((entry["number"], entry["amount"], entry["outstanding"]))
        expected += [(line["number"], line["amount"], line["balance"]) for line in entry["lines"]]
    assert numbered == [(str(number), "" if amount is None else str(amount), str(balance)) for number, amount, balance in expected]
    assert [(number, minor(amount) if amount else None) for number, amount, _ in lines_of(page)] == [line[:2] for line in expected]
    shown = {number: minor(balance) for number, _, balance in lines_of(page) if balance}
    assert shown.items() <= {number: balance for number, _, balance in expected}.items()
    for side in ("due", "paid", "waived", "outstanding", "overdue"):
        totals = said[side] if side in said else said["totals"][side]
        for kind in ("instalment", "total"):
            found = Counter[str]()
            for row in table:
                if (row["row"], row["side"]) == (kind, side):
                    found[row["component"]] += int(row["amount"])
            assert {name: amount for name, amount in totals.items() if amount and name != "total"} == found


@settings(deadline=None, max_examples=40)
@given(events=event_sets(), product=products(), day=st.integers(0, LAST + 10))
def test_the_tables_can_be_read_by_ear_and_nothing_comes_from_elsewhere(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    assume(stated(events, product, on(day)) is not None)
    page = Read(PAGE.render(made(events, day, product)))
    assert not {"script", "link", "img", "iframe", "form", "object"} & page.tags.keys()
    assert not [one for one in page.attributes if one[1] in ("src", "href", "style") or one[1].startswith("on")]
    for table in page.tables:
        assert table.caption.strip()
        assert {cell.tag for cell in table.rows[0]} == {"th"}
        assert {cell.attributes.get("scope") for cell in table.rows[0]} == {"col"}
        headed = [cell for row in table.rows[1:] for cell in row if cell.tag == "th"]
        assert {cell.attributes.get("scope") for cell in headed} <= {"row", "rowgroup"}
        assert headed or len(table.rows) == 1
    ids = [value for _, name, value in page.attributes if name == "id"]
    named = {value for _, name, value in page.attributes if name == "aria-labelledby"}
    assert len(ids) == len(set(ids))
    assert named <= set(ids)


def hostile(product: str = HOSTILE) -> list[LoanEvent]:
    loan = replace(LOAN, product=product, borrower_id=HOSTILE)
    charge = ChargeAdded(place(12, 1), HOSTILE, Component.FEE, 50, on(12))
    undone, undoing = Repaid(place(13, 2), HOSTILE, 10, on(13)), RepaymentReversed(replace(place(14, 3), id=HOSTILE), HOSTILE)
    return [loan, charge, undone, undoing, RepaymentReversed(replace(place(15, 4), id=HOSTILE + "2"), HOSTILE + "2")]


def test_text_from_outside_is_text_on_the_page() -> None:
    text = PAGE.render(replace_id(made(hostile(), 20), HOSTILE))
    page = Read(text)
    assert "<script" not in text
    assert page.tags["script"] == 0
    assert page.text.count(HOSTILE) >= 8


def replace_id(one: Stated, loan_id: str) -> Stated:
    return Stated(loan_id, one.at, one.known_at, one.record, one.statement)


def test_a_text_that_a_spreadsheet_would_run_is_text_in_every_cell() -> None:
    ids = ["=1+1", "-7", "@x", "+5", "\tx"]
    events: list[LoanEvent] = [replace(LOAN, product="=1+1"), *(Repaid(place(9, n), name, 5, on(9)) for n, name in enumerate(ids, 1))]
    events += [ChargeAdded(place(12, 8), "-c", Component.FEE, 50, on(12))]
    table = as_table(replace_id(made(events, 20), "-L1"))
    assert {row["loan_id"] for row in table} == {"'-L1"}
    assert {f"'{name}" for name in ids} <= {row["id"] for row in table}
    assert {f"'{name}" for name in ids} <= {row["by"] for row in table}
    assert {row["charge_id"] for row in table} == {"", "'-c"}
    numbers = {"number", "n", "amount", "balance", "credit"}
    assert not [cell for row in table for name, cell in row.items() if name not in numbers and cell.startswith(("=", "+", "-", "@", "\t"))]


@pytest.mark.parametrize(("currency", "written"), [("CNY", "1,234.50"), ("JPY", "123,450"), ("KWD", "123.450"), ("IQD", "123.450")])
def test_amounts_are_written_with_the_decimals_of_their_currency(currency: str, written: str) -> None:
    assert isinstance(LOAN, Disbursed)
    loan = replace(LOAN, currency=currency, schedule=(replace(LOAN.schedule[0], principal=123_450),))
    page = Read(PAGE.render(made([loan], 15)))
    assert [(amount, balance) for _, amount, balance in lines_of(page)] == [(written, ""), (written, written)]
    assert f"All amounts are in {currency}." in page.words


def test_the_page_says_what_a_borrower_must_know() -> None:
    events: list[LoanEvent] = [LOAN, repaid(12, 350, 1, recorded=14), repaid(15, 40, 2), RepaymentReversed(place(16, 3), "r2")]
    text = Read(PAGE.render(made(events, 25))).words
    assert "Overdue 2.50 Total outstanding 5.50 Days past due 5" in text
    assert "Overdue since 2026-01-21 (instalment 2) Next due 3.00 on 2026-01-31 (instalment 3)" in text
    assert "2026-01-13 recorded 2026-01-15" in text
    assert "Repayment r2 undone by event e3: counts as if it had never happened" in text
    assert "Made 2026-03-02 04:30 (Asia/Shanghai) from 4 events." in text
    assert "doubt" not in text


def test_a_loan_in_doubt_says_so_on_the_page() -> None:
    doubt = Doubt(since=datetime(2026, 1, 20, 23, tzinfo=UTC), parked=("e9",))
    assert "In doubt since 2026-01-21 07:00" in Read(PAGE.render(made([LOAN], 25, doubt=doubt))).words


def test_what_was_left_when_a_loan_ended_has_a_column_of_its_own() -> None:
    ended = Read(PAGE.render(made([LOAN, WrittenOff(place(20, 2), on(20))], 25)))
    assert [cell.text for cell in ended.tables[0].rows[0]][4:] == ["Left at the end", "Outstanding", "Of which overdue"]
    assert [cell.text for cell in ended.tables[0].rows[-1]] == ["Total", "9.00", "0.00", "0.00", "9.00", "0.00", "0.00"]
    assert "Left at the end" not in Read(PAGE.render(made([LOAN], 25))).text


def test_a_browser_may_use_the_page_s_own_style_and_nothing_else() -> None:
    style = re.search(r"<style>(.*?)</style>", PAGE.render(made([LOAN], 25)), re.DOTALL)
    assert style is not None
    allowed = b64encode(sha256(style[1].encode()).digest()).decode()
    policy = PAGE.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{allowed}';")
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_a_long_statement_comes_in_pieces_that_make_one_table() -> None:
    events: list[LoanEvent] = [LOAN, *(repaid(9, 1, number) for number in range(1, 601))]
    one = made(events, 20)
    pieces = list(csv_pieces(one))
    assert len(pieces) == 4
    assert sum(row["row"] == "entry" for row in as_table(one)) == 601
