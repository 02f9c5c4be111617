"""Slips in a body are answered in plain words, with what was probably meant."""

import json
from datetime import date
from typing import Any, Literal

import msgspec
import pytest
from pydantic import AwareDatetime, BaseModel, ValidationError

from libs.common.contracts.wallet_loans import LoanDisbursed
from libs.common.slips import explained, told
from services.notifier.domain.tenant import TenantSettings

LOAN = {
    "loan_id": "l1", "borrower_id": "b1", "product": "cash", "currency": "CNY", "disbursed_on": "2026-01-01", "timezone": "Asia/Shanghai",
    "jurisdictions": ["ZZ"], "schedule": [{"n": 1, "due_on": "2026-02-01", "principal": 5}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "right", "slip", "said"),
    [
        (LoanDisbursed, '"principal": 5', '"principal": 5.5',
         "$.schedule[0].principal: a whole number belongs here, not a number with decimals: minor units of the currency"),
        (LoanDisbursed, '"principal": 5', '"principal": -5',
         "$.schedule[0].principal: a whole number of at least 0 belongs here: minor units of the currency"),
        (LoanDisbursed, '"principal": 5', '"principle": 5', "$.schedule[0]: the key 'principal' is missing"),
        (LoanDisbursed, "2026-02-01", "01.02.2026", "$.schedule[0].due_on: a date belongs here, such as 2026-10-31"),
        (LoanDisbursed, '"l1"', '"l 1"', "$.loan_id: this is not spelt as it must be: 1 to 128 of A-Z a-z 0-9 . _ : -"),
        (LoanDisbursed, '["ZZ"]', '"ZZ"', "$.jurisdictions: a list belongs here, not a text"),
        (TenantSettings, '"profile"', '"profle"', "$.profle: there is no key 'profle' here: did you mean 'profile' or 'role'?"),
        (TenantSettings, '"strict"', '"strickt"', "$.profile: 'strickt' is not known here: did you mean 'strict'?"),
        (TenantSettings, '"name"', '"nme"', "$.brand.nme: there is no key 'nme' here: did you mean 'name'?"),
    ],
)  # fmt: skip
def test_a_slip_in_a_body_is_answered_in_plain_words(form: Any, right: str, slip: str, said: str) -> None:
    text = json.dumps(LOAN if form is LoanDisbursed else {"profile": "strict", "brand": {"name": "Acme"}})
    assert msgspec.json.decode(text, type=form)
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(text.replace(right, slip), type=form)
    assert explained(caught.value, form) == said


class Asked(BaseModel, extra="forbid"):
    """A body of a person's wish."""

    stop: Literal["manual", "dispute"] = "manual"
    until: AwareDatetime | None = None
    on: date | None = None
    months: int = 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"stop": "manuel"}, "'manuel' is not known here: did you mean 'manual'?"),
        ({"stop": "x"}, "'x' is not known here: there are 'manual', 'dispute'"),
        ({"until": "2027-01-01T00:00:00"}, "a moment with its offset belongs here (RFC 3339), such as 2026-10-31T22:00:00+01:00"),
        ({"on": "01.02.2027"}, "a date belongs here, such as 2026-10-31"),
        ({"months": "three"}, "a whole number belongs here"),
        ({"month": 3}, "there is no such key here"),
    ],
)
def test_so_is_one_in_a_body_that_is_read_by_pydantic(asked: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Asked.model_validate(asked)
    assert told(caught.value.errors()[0]) == said
