"""Values shared by the notifier's unit tests."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from libs.common.contracts.borrower_profiles import BorrowerProfile, SealedAddress
from libs.common.contracts.contact_tasks import ContactRequested, DebtRef, PolicyRef
from libs.common.contracts.overdue_facts import Amounts, Anchor, OverdueFact
from services.notifier.domain.delivery import Delivery

MORNING = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
NIGHT = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)


def a_fact(loan: str = "loan", overdue: int = 12050, **changes: Any) -> OverdueFact:
    fact = OverdueFact(
        loan_id=loan,
        borrower_id="b",
        product="cash-loan",
        currency="CNY",
        timezone="Asia/Shanghai",
        jurisdictions=("ZZ",),
        status="active",
        epoch=1,
        version=1,
        as_of=date(2026, 11, 24),
        overdue=Amounts(principal=overdue, total=overdue),
        outstanding=Amounts(principal=overdue, total=overdue),
        bucket="M1",
        anchor=Anchor(n=1, due_on=date(2026, 11, 23)) if overdue else None,
    )
    return msgspec.structs.replace(fact, **changes)


def a_request(**changes: Any) -> ContactRequested:
    request = ContactRequested(
        task_id="t",
        borrower_id="b",
        case_id="c",
        policy=PolicyRef(name="standard", version=1),
        step="gentle",
        template="gentle",
        purpose="dunning",
        channels=("sms", "email"),
        not_before=MORNING,
        expires_at=MORNING + timedelta(days=2),
        debts=(DebtRef(loan_id="loan", fact_epoch=1, fact_version=1),),
    )
    return msgspec.structs.replace(request, **changes)


def a_delivery(**changes: Any) -> Delivery:
    return Delivery("default", "b", "t", a_request(**changes), next_at=MORNING)


def an_address(channel: str = "sms", **changes: Any) -> SealedAddress:
    address = SealedAddress(channel=channel, sealed="x", lookup=f"lookup-{channel}")  # type: ignore[arg-type]  # tests name channels freely
    return msgspec.structs.replace(address, **changes)


def a_profile(**changes: Any) -> BorrowerProfile:
    profile = BorrowerProfile(
        borrower_id="b", time=MORNING, id="p", key="", timezone="Asia/Shanghai", jurisdictions=("ZZ",), addresses=(an_address(),)
    )
    return msgspec.structs.replace(profile, **changes)
