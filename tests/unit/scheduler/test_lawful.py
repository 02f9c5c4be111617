"""What the scheduler tells the gate about a borrower, matching the notifier."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.compliance import load_packs
from services.scheduler.domain.lawful import Address, May, Reach, Wish, ask
from services.scheduler.domain.policy import Send
from services.scheduler.domain.stops import Stop
from tests.unit.scheduler.build import debt, local

PACKS = load_packs()
NOON = local(1, 12)
ADDRESSES = (Address("sms", "s1"), Address("email", "e1"))
DUNNING = ("sms", "dunning")


def channel(purpose: str = "dunning", *stops: Stop, place: str = "ZZ", **reach: Any) -> str | None:
    """The channel on which a contact may go out, or None."""
    send = Send("gentle", ("sms", "email"), purpose)
    wish = Wish(send, (debt(jurisdictions=(place,)),), Reach(True, addresses=ADDRESSES, **reach), stops, ())
    answer = ask(wish, PACKS, NOON)
    return answer.channel if isinstance(answer, May) else None


@pytest.mark.parametrize(
    ("purpose", "reach", "expected"),
    [
        ("dunning", {}, None),
        ("dunning", {"consents": {DUNNING: None}}, "sms"),
        ("reminder", {"consents": {DUNNING: NOON}}, "sms"),
        ("reminder", {"consents": {DUNNING: NOON}, "withdrawn": frozenset({("sms", "reminder")})}, None),
        ("dunning", {"consents": {DUNNING: NOON + timedelta(seconds=59)}}, "sms"),
        ("dunning", {"consents": {DUNNING: NOON + timedelta(hours=1)}}, None),
    ],
)
def test_a_consent_counts_from_its_date_and_not_for_what_it_was_taken_back_for(
    purpose: str, reach: dict[str, Any], expected: str | None
) -> None:
    assert channel(purpose, place="VN", **reach) == expected


@pytest.mark.parametrize(
    ("kind", "contacts", "expected"),
    [
        ("complaint", None, "sms"), ("complaint", "limited", "sms"), ("complaint", "none", "email"),
        ("represented", "limited", "email"), ("opt_out", None, "email"),
    ],
)  # fmt: skip
def test_a_stop_leaves_notices_where_whoever_set_it_has_said_so(kind: str, contacts: str | None, expected: str) -> None:
    stop = Stop("h", kind, local(0, 0), None, channel="sms", contacts=contacts)
    assert channel("notice", stop) == expected
    assert channel("dunning", stop) == "email"


def test_a_stop_of_a_channel_that_names_a_debt_closes_the_channel() -> None:
    assert channel("dunning", Stop("h", "complaint", local(0, 0), None, "another", "sms")) == "email"
