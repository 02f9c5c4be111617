"""A lender's files, written for one test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from services.importer.csv_book import Book
from services.importer.csv_checked import Checked
from services.importer.csv_index import Index
from services.importer.csv_mapping import load

LOAN = {
    "loan_id": "Contract",
    "borrower_id": "Customer",
    "product": {"const": "cash"},
    "disbursed_on": "Paid",
    "jurisdictions": {"const": ["ZZ"]},
}
LOANS = "Contract,Customer,Paid\nL1,B1,2026-01-10\nL2,B2,2026-02-10\n"
INSTALMENT = {"loan_id": "Contract", "n": "No", "due_on": "Due", "principal": "Principal"}
PAYMENT = {"loan_id": "Contract", "repayment_id": "Id", "amount": "Amount", "paid_at": "At"}
Written = dict[str, Any]


def lender(folder: Path, *files: tuple[Written, str], **top: Any) -> Path:
    """Write files with what the mapping says of them, and return the mapping."""
    for said, text in files:
        (folder / said["file"]).write_text(text, encoding="utf-8")
    mapping = {"source": "/import/test", "exported_at": "2026-11-01T00:00:00Z", "timezone": "Asia/Shanghai", "currency": "CNY"}
    path = folder / "mapping.yaml"
    path.write_text(yaml.safe_dump({**mapping, **top, "files": [said for said, _ in files]}, sort_keys=False), encoding="utf-8")
    return path


def loans(text: str = LOANS, **more: Any) -> tuple[Written, str]:
    return {"file": "loans.csv", "rows": "loan", "fields": LOAN, **more}, text


def schedule(text: str, **more: Any) -> tuple[Written, str]:
    return {"file": "schedule.csv", "rows": "instalment", "fields": INSTALMENT, **more}, f"Contract,No,Due,Principal\n{text}"


def payments(text: str, **more: Any) -> tuple[Written, str]:
    return {"file": "payments.csv", "rows": "payment", "fields": PAYMENT, **more}, f"Contract,Id,At,Amount\n{text}"


def checked(mapping: Path) -> Checked:
    with Index() as index:
        return Book(load(mapping), index).check(lambda _: None)


def wrong(mapping: Path) -> list[str]:
    return list(map(str, checked(mapping).issues))


def events(mapping: Path) -> list[Any]:
    with Index() as index:
        book = Book(load(mapping), index)
        found = book.check(lambda _: None)
        assert found.issues == []
        return [msgspec.json.decode(event.body) for event in book.events()]
