"""A lender's files become the events of the contract; what is wrong is named by file, line and column."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.importer.csv_kinds import KINDS
from services.importer.csv_mapping import load
from services.importer.csv_schedules import equal_instalments
from services.importer.csv_yaml import MappingError
from tests.unit.importer.lender import LOAN, LOANS, PAYMENT, checked, events, lender, loans, payments, schedule, wrong

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "csv" / "mapping.yaml"
ROWS = "L2,2,2026-04-10,50.00\nL1,1,2026-02-10,100.00\nL2,1,2026-03-10,50.00\n"


def test_the_example_can_be_imported_as_it_stands() -> None:
    found = checked(EXAMPLE)
    assert found.issues == []
    assert (found.events, found.notes) == (15, [])
    assert found.counts["wallet.repayment.received.v1"].sums == {"EUR": 206_650}
    assert str(found.counts["wallet.loan.disbursed.v1"].first) == "2026-03-02"


def test_rows_of_a_schedule_find_their_loan_in_any_order(tmp_path: Path) -> None:
    found = events(lender(tmp_path, schedule(ROWS), loans()))
    by_loan = {event["subject"]: [(row["n"], row["principal"]) for row in event["data"]["schedule"]] for event in found}
    assert by_loan == {"L1": [(1, 10_000)], "L2": [(1, 5_000), (2, 5_000)]}


def test_payments_are_sent_before_their_loans_so_that_nobody_who_has_paid_looks_overdue(tmp_path: Path) -> None:
    found = events(lender(tmp_path, loans(), payments("L1,P1,2026-02-09,100.00\n")))
    assert [event["type"] for event in found] == ["wallet.repayment.received.v1", *["wallet.loan.disbursed.v1"] * 2]


def test_the_same_files_give_the_same_events_under_the_same_ids(tmp_path: Path) -> None:
    mapping = lender(tmp_path, loans(), schedule(ROWS), payments("L1,P1,2026-02-09,100.00\n"))
    assert (found := events(mapping)) == events(mapping)
    assert len({event["id"] for event in found}) == len(found)


def test_a_payment_without_a_zone_happens_in_the_zone_and_currency_of_its_loan(tmp_path: Path) -> None:
    text = "Contract,Customer,Paid,Zone,Money\nL1,B1,2026-01-10,Asia/Tokyo,JPY\n"
    fields = LOAN | {"timezone": "Zone", "currency": "Money"}
    [paid, _] = events(lender(tmp_path, loans(text, fields=fields), payments("L1,P1,2026-02-09,100\n")))
    assert (paid["data"]["amount"], paid["data"]["paid_at"]) == (100, "2026-02-09T00:00:00+09:00")


def test_what_the_books_recorded_after_the_export_is_dated_at_the_export(tmp_path: Path) -> None:
    [paid, *_] = events(lender(tmp_path, loans(), payments("L1,P1,2026-12-01,100\n")))
    assert (paid["time"], paid["data"]["paid_at"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00+08:00")


def test_a_schedule_by_rule_is_made_only_where_the_mapping_asks_for_it(tmp_path: Path) -> None:
    text = "Contract,Customer,Paid,Sum,Terms,First\nL1,B1,2026-01-10,100.00,3,2026-01-31\n"
    rule = {"principal": "Sum", "n": "Terms", "first_due_on": "First", "every": "month"}
    [loan] = events(lender(tmp_path, loans(text, equal_instalments=rule)))
    rows = [(row["due_on"], row["principal"]) for row in loan["data"]["schedule"]]
    assert rows == [("2026-01-31", 3333), ("2026-02-28", 3333), ("2026-03-31", 3334)]
    [bare] = events(lender(tmp_path, loans(text)))
    assert bare["data"].get("schedule", []) == []


@given(st.integers(0, 10**12), st.integers(1, 600))
def test_equal_instalments_add_up_to_what_was_lent(principal: int, n: int) -> None:
    rows = equal_instalments(principal=principal, n=n, first_due_on=date(2026, 1, 31), every="week")
    assert sum(row["principal"] for row in rows) == principal
    assert len({row["due_on"] for row in rows}) == n


def test_an_address_that_is_not_there_is_left_out_and_a_column_called_no_keeps_its_name(tmp_path: Path) -> None:
    said = {
        "file": "people.csv", "rows": "borrower", "fields": {"borrower_id": "No"},
        "addresses": [{"channel": "sms", "address": "Mobile"}, {"channel": "email", "address": "Mail", "priority": {"const": "1"}}],
    }  # fmt: skip
    mapping = lender(tmp_path, (said, "No,Mobile,Mail\nB1,,one@example.org\nB2,+447700900001,\n"))
    mapping.write_text(mapping.read_text().replace("'No'", "No"))
    found = [event["data"]["addresses"] for event in events(mapping)]
    assert found == [[{"channel": "email", "address": "one@example.org", "priority": 1}], [{"channel": "sms", "address": "+447700900001"}]]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("L1,P1,2026-02-09,12.345\n", "payments.csv line 2, column \"Amount\": '12.345' has more decimals than CNY, which has 2"),
        ("L1,P1,2026-02-09,1\nL1,P1,2026-02-10,1\n", "line 3: the same payment (L1 P1) stands in payments.csv line 2 already"),
        ("L1,P/1,2026-02-09,1\n", "line 2, column \"Id\": 'P/1': 1 to 128 of A-Z a-z 0-9 . _ : -"),
        ("L1,P1,yesterday,1\n", "line 2, column \"At\": 'yesterday' is no time like 2026-01-31T09:30:00"),
        ("L1,P1,2026-02-09,\n", 'line 2, column "Amount": amount must be there, and the cell is empty'),
        ("L1,P1,2026-02-09\n", "line 2: has 3 cells, the first line has 4"),
        ("L9,P1,2026-02-09,1\n", "line 2: loan L9 is in no file of loans"),
        ('L1,"P1\n",2026-02-09,1\nL1,P2,2026-02-09,x\n', "line 4, column \"Amount\": 'x' is no number"),
        ('L1,"P1"x,2026-02-09,1\n', "line 2: this is no CSV with ',' between cells"),
    ],
)
def test_an_error_names_file_line_and_column(tmp_path: Path, rows: str, says: str) -> None:
    [issue] = wrong(lender(tmp_path, loans(), payments(rows)))
    assert issue.startswith("payments.csv line")
    assert says in issue


def test_every_error_of_a_row_and_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    found = wrong(lender(tmp_path, loans(), schedule("L1,1,soon,much\nL2,1,2026-03-10,1\nL2,1,2026-04-10,1\n"), payments("L1,P1,?,?\n")))
    assert [issue.split(":")[0] for issue in found] == [
        'schedule.csv line 2, column "Due"', 'schedule.csv line 2, column "Principal"', "schedule.csv line 4",
        'payments.csv line 2, column "Amount"', 'payments.csv line 2, column "At"',
    ]  # fmt: skip


def test_after_a_hundred_errors_the_others_are_counted_and_those_of_loans_come_first(tmp_path: Path) -> None:
    rows = "".join(f"L1,P{n},2026-02-09,x\n" for n in range(250))
    lines = list(checked(lender(tmp_path, loans("Contract,Customer,Paid\nL1,B1,never\n"), payments(rows))).wrong())
    assert lines[0].startswith('loans.csv line 2, column "Paid"')
    assert lines[-2:] == ["... and 151 more", "251 errors: nothing has been sent"]


def test_a_loan_whose_currency_is_wrong_is_one_error_and_not_one_for_each_of_its_payments(tmp_path: Path) -> None:
    text = "Contract,Customer,Paid,Money\nL1,B1,2026-01-10,EURO\n"
    mapping = lender(tmp_path, loans(text, fields=LOAN | {"currency": "Money"}), payments("L1,P1,2026-02-09,1\nL1,P2,2026-02-09,1\n"))
    assert wrong(mapping) == ["loans.csv line 2, column \"Money\": 'EURO' is not an ISO 4217 currency"]


def test_a_payment_in_another_currency_than_its_loan_is_refused(tmp_path: Path) -> None:
    said, text = payments("L1,P1,2026-02-09,1.00\n", fields=PAYMENT | {"currency": {"const": "EUR"}})
    assert wrong(lender(tmp_path, loans(), (said, text))) == ["payments.csv line 2: this is in EUR, the loan L1 in CNY"]


def test_rows_of_unknown_loans_can_be_left_out(tmp_path: Path) -> None:
    found = checked(lender(tmp_path, loans(), payments("L9,P1,2026-02-09,1\n", unknown_loans="skip")))
    assert found.faults == 0
    assert "payments.csv: 1 rows are about loans that are in no file of loans and are left out" in found.notes


def test_a_wrong_column_name_is_answered_with_the_near_ones(tmp_path: Path) -> None:
    mapping = lender(tmp_path, loans(fields=LOAN | {"loan_id": "Contrakt"}), payments("L1,P1,2026-02-09,1\n"))
    assert wrong(mapping) == ["loans.csv line 1: there is no column 'Contrakt'; did you mean 'Contract'?".replace("; ", ": ")]


def test_a_wrong_delimiter_is_one_error_that_names_the_right_one(tmp_path: Path) -> None:
    assert wrong(lender(tmp_path, loans(delimiter=";"))) == ["loans.csv line 1: is one column to ';': is the `delimiter` ','?"]


def test_a_condition_that_no_row_fulfils_is_noted(tmp_path: Path) -> None:
    found = checked(lender(tmp_path, loans(), payments("L1,P1,2026-02-09,1\n", where={"Contract": "l1"})))
    assert found.notes == ["payments.csv: no row of it is taken as a payment, of those where Contract: l1", *found.notes[1:]]


def test_a_file_in_another_encoding_says_where_and_what_to_name(tmp_path: Path) -> None:
    mapping = lender(tmp_path, loans())
    (tmp_path / "loans.csv").write_bytes(LOANS.encode() + "L3,Bü,2026-01-01\n".encode("latin-1"))
    assert "is not written in utf-8-sig (byte 0xfc): name its `encoding`" in wrong(mapping)[0]
    with_bom = lender(tmp_path, loans())
    (tmp_path / "loans.csv").write_bytes(b"\xef\xbb\xbf" + LOANS.encode())
    assert len(events(with_bom)) == 2


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("loan_id: Contract", "loan_idd: Contract", "a loan has no field 'loan_idd': did you mean 'loan_id'?"),
        ("rows: loan", "rows: lone", "no kind of row is called 'lone': did you mean 'loan'?"),
        ("loans.csv", "lonas.csv", "there is no file"),
        ("  rows: loan", "  rows: loan\n  delimeter: x", "there is no key 'delimeter' here: did you mean 'delimiter'?"),
        ("2026-11-01T00:00:00Z", "2026-11-01", "a moment with its offset belongs here (RFC 3339)"),
        ("\nfiles:", "\nfile:", "there is no key 'file' here: did you mean 'files'?"),
        ("product:\n      const: cash", "product:\n      colum: A", "there is no key 'colum' here: did you mean 'column'?"),
        ("  rows: loan", "  rows: loan\n  rows: loan", "'rows' stands twice here"),
        ("product:\n      const: cash", "product:\n      column: A\n      const: cash", "one of the two"),
        ("timezone: Asia/Shanghai", "timezone: Shanghai", "not an IANA time zone"),
        ("disbursed_on: Paid", "grace_days: Paid", "a loan needs disbursed_on"),
        ("source: /import/test", "source: [", "this is no YAML"),
    ],
)
def test_an_error_in_the_mapping_names_its_line(tmp_path: Path, before: str, after: str, says: str) -> None:
    path = lender(tmp_path, loans())
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(MappingError, match=r"^mapping\.yaml line \d+: ") as caught:
        load(path)
    assert says in str(caught.value)


def test_the_page_about_importing_names_every_field_that_a_row_needs() -> None:
    page = (EXAMPLE.parents[2] / "docs" / "importing.md").read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        [row] = [line for line in page.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]]
        assert {field for field, known in kind.fields.items() if known.required} <= set(
            row.split("|")[2].replace("`", " ").replace(",", " ").split()
        )
