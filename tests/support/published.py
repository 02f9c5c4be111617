"""The events of the fold's property tests, as a wallet publishes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from services.ingest.domain import events as e
from tests.support.wallet import Event


@dataclass(frozen=True)
class Wallet:
    """The wallet of one loan."""

    loan_id: str
    product: str

    def event(self, one: e.LoanEvent) -> Event:
        """Return one of the fold's events as a CloudEvent."""
        name, data = self._said(one)
        return {
            "specversion": "1.0", "id": one.place.id, "source": one.place.source, "type": f"wallet.{name}.v1",
            "time": one.place.time.isoformat(), "subject": self.loan_id, "data": {"loan_id": self.loan_id, **_without_none(data)},
        }  # fmt: skip

    def _said(self, one: e.LoanEvent) -> tuple[str, dict[str, Any]]:  # noqa: C901, PLR0911, PLR0912  # a line a type
        match one:
            case e.Disbursed():
                return "loan.disbursed", {
                    "borrower_id": one.borrower_id, "product": self.product, "currency": one.currency, "schedule": _rows(one.schedule),
                    "disbursed_on": str(one.disbursed_on), "timezone": one.timezone, "jurisdictions": list(one.jurisdictions),
                }  # fmt: skip
            case e.Rescheduled():
                return "loan.rescheduled", {
                    "version": one.version, "reason": one.reason, "schedule": _rows(one.schedule), "effect": one.effect.value,
                    "effective_on": str(one.place.day),
                }  # fmt: skip
            case e.InstalmentDue():
                return "instalment.due", {**_rows([one.row], down_payment=False)[0], "currency": one.currency}
            case e.ChargeAdded():
                return "charge.added", {
                    "charge_id": one.charge_id, "kind": one.kind.value, "amount": one.amount, "due_on": str(one.due_on), "n": one.n,
                }  # fmt: skip
            case e.Waived():
                component = None if one.n is None else (one.component or e.Component.PRINCIPAL).value
                return "charge.waived", {
                    "waiver_id": one.waiver_id, "charge_id": one.charge_id, "n": one.n, "component": component, "amount": one.amount,
                }  # fmt: skip
            case e.WaiverReversed():
                return "charge.waiver_reversed", {"waiver_id": one.waiver_id}
            case e.Repaid():
                allocations = [{"n": a.n, "principal": a.parts.principal, "fee": a.parts.fee} for a in one.allocations]
                return "repayment.received", {
                    "repayment_id": one.repayment_id, "amount": one.amount, "paid_at": _noon(one.paid_on), "kind": one.kind.value,
                    "allocations": allocations,
                }  # fmt: skip
            case e.RepaymentPending():
                return "repayment.pending", {"repayment_id": one.repayment_id, "amount": one.amount, "until": one.until.isoformat()}
            case e.RepaymentReversed():
                return "repayment.reversed", {"repayment_id": one.repayment_id}
            case e.ChargedBack():
                return "repayment.charged_back", {
                    "chargeback_id": one.chargeback_id, "repayment_id": one.repayment_id, "amount": one.amount, "at": _noon(one.on),
                }  # fmt: skip
            case e.CreditRefunded():
                return "credit.refunded", {"refund_id": one.refund_id, "amount": one.amount, "at": _noon(one.on)}
            case e.Paused():
                return "loan.paused", {"from": str(one.from_on), "until": None if one.until is None else str(one.until)}
            case e.Resumed():
                return "loan.resumed", {"on": str(one.on)}
            case e.ChargedOff():
                return "loan.charged_off", {"on": str(one.on), "charge_off_id": one.charge_off_id}
            case e.ChargeOffReversed():
                return "loan.charge_off_reversed", {"charge_off_id": one.charge_off_id}
            case e.WrittenOff():
                return "loan.written_off", {"on": str(one.on), "write_off_id": one.write_off_id}
            case e.Closed():
                return "loan.closed", {"on": str(one.on)}
            case e.Retracted():
                return "event.retracted", {"source": one.source, "event_id": one.event_id}


def _rows(rows: Sequence[e.Row], *, down_payment: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "n": r.n, "due_on": str(r.due_on), "principal": r.principal, "interest": r.interest, "fee": r.fee, "penalty": r.penalty,
            **({"down_payment": r.down_payment} if down_payment else {}),
        }
        for r in rows
    ]  # fmt: skip


def _noon(day: date) -> str:
    return f"{datetime.combine(day, time(12)).isoformat()}Z"


def _without_none(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}
