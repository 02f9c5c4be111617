"""What a row of a lender's file can be, and the fields that the contract gives it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
from msgspec import inspect

from libs.common.contracts import wallet_borrowers as borrowers
from libs.common.contracts import wallet_loans as loans
from libs.common.money import MAX_MINOR
from services.importer.csv_forms import Form

RECORDED_AT = "recorded_at"
"""When the lender's books recorded the row: the event's `time`, not a part of its data."""
OWN_FORMS = {"currency": Form.CURRENCY, "timezone": Form.ZONE}


@dataclass(frozen=True, slots=True)
class Known:
    """A field of the contract: its form, whether it must be there, and what may stand in it."""

    form: Form
    required: bool = False
    says: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row; `key` names it inside the import, `dated` is the day or moment that it is about."""

    event: str
    struct: type[msgspec.Struct]
    key: tuple[str, ...]
    dated: str | None = None
    sums: tuple[str, ...] = ()
    beside: dict[str, Known] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, Known]:
        """Return every field that a mapping may name; `attributes.` takes any name behind the dot."""
        return dict(_fields(self.struct)) | {RECORDED_AT: Known(Form.MOMENT)} | self.beside


_CURRENCY = {"currency": Known(Form.CURRENCY)}
_LOAN = {"loan_id": Known(Form.TEXT, required=True), **_CURRENCY}
COMPONENTS = ("principal", "interest", "fee", "penalty")

INSTALMENT = "instalment"
LOAN = "loan"
BORROWER = "borrower"
KINDS: dict[str, Kind] = {
    BORROWER: Kind("wallet.borrower.updated.v1", borrowers.BorrowerUpdated, ("borrower_id",)),
    "status": Kind("wallet.borrower.status.v1", borrowers.BorrowerStatus, ("borrower_id", "status_id"), "from_"),
    "consent": Kind("wallet.borrower.consent.v1", borrowers.BorrowerConsent, ("borrower_id", "channel", "purpose", "at"), "at"),
    "contact": Kind("wallet.contact.recorded.v1", borrowers.ContactRecorded, ("contact_id",), "at"),
    "payment": Kind(
        "wallet.repayment.received.v1", loans.RepaymentReceived, ("loan_id", "repayment_id"), "paid_at", ("amount",), _CURRENCY
    ),
    "charge": Kind("wallet.charge.added.v1", loans.ChargeAdded, ("loan_id", "charge_id"), "due_on", ("amount",), _CURRENCY),
    "pause": Kind("wallet.loan.paused.v1", loans.LoanPaused, ("loan_id", "from_"), "from_"),
    "charge_off": Kind("wallet.loan.charged_off.v1", loans.LoanChargedOff, ("loan_id", "on"), "on"),
    "write_off": Kind("wallet.loan.written_off.v1", loans.LoanWrittenOff, ("loan_id", "on"), "on"),
    LOAN: Kind("wallet.loan.disbursed.v1", loans.LoanDisbursed, ("loan_id",), "disbursed_on"),
    INSTALMENT: Kind("", loans.Instalment, ("loan_id", "n"), "due_on", COMPONENTS, _LOAN),
}
"""In the order of sending: loans come last, so that none is seen as overdue while its payments are still on their way."""


def fields_of_address() -> dict[str, Known]:
    """Return the fields of one address of a borrower."""
    return dict(_fields(borrowers.Address))


def _fields(struct: type[msgspec.Struct], above: str = "") -> Iterator[tuple[str, Known]]:
    for part in cast("inspect.StructType", inspect.type_info(struct)).fields:
        name, required = f"{above}{part.encode_name}", part.required and not above
        inner, says = _plain(part.type)
        match inner:
            case inspect.StructType(cls=cls):
                yield from _fields(cls, f"{name}.")
            case inspect.DictType():
                yield f"{name}.", Known(Form.TEXT)
            case inspect.VarTupleType(item_type=item) if isinstance(_plain(item)[0], inspect.StructType):
                continue
            case _:
                yield name, Known(OWN_FORMS.get(name) or _form(inner), required, says)


def _plain(info: inspect.Type) -> tuple[Any, str]:
    """Return the type itself, without what surrounds it, and what the contract says about its values."""
    if isinstance(info, inspect.Metadata):
        return info.type, (info.extra_json_schema or {}).get("description", "")
    if isinstance(info, inspect.UnionType):
        return _plain(next(one for one in info.types if not isinstance(one, inspect.NoneType)))
    if isinstance(info, inspect.LiteralType):
        return info, f"one of {', '.join(map(str, info.values))}"
    if isinstance(info, inspect.VarTupleType):
        return info, _plain(info.item_type)[1]
    return info, ""


def _form(info: inspect.Type) -> Form:
    match info:
        case inspect.IntType(le=limit) if limit == MAX_MINOR:
            return Form.AMOUNT
        case inspect.IntType():
            return Form.INTEGER
        case inspect.DecimalType():
            return Form.NUMBER
        case inspect.DateType():
            return Form.DATE
        case inspect.DateTimeType():
            return Form.MOMENT
        case inspect.BoolType():
            return Form.BOOLEAN
        case inspect.VarTupleType():
            return Form.TEXTS
        case _:
            return Form.TEXT
