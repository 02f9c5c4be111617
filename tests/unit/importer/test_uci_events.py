import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from libs.common.contracts.wallet_borrowers import BORROWER_EVENTS
from libs.common.contracts.wallet_loans import LOAN_EVENTS
from services.importer.uci import ASSUMPTIONS, ZONE, Account, Event, events, read, timeline
from services.importer.uci_ledger import missed

ENDS_ON = date(2026, 11, 24)
ACCOUNTS = tuple(read(Path(__file__).resolve().parents[3] / "examples" / "uci_500.csv"))
EVENTS = tuple(events(ACCOUNTS, ends_on=ENDS_ON))
ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def of(kind: str, among: Iterable[Event] = EVENTS) -> list[dict[str, Any]]:
    return [event["data"] for event in among if event["type"] == f"wallet.{kind}.v1"]


def paid_by_loan() -> dict[str, list[tuple[date, int]]]:
    paid: defaultdict[str, list[tuple[date, int]]] = defaultdict(list)
    for data in of("repayment.received"):
        paid[data["loan_id"]].append((datetime.fromisoformat(data["paid_at"]).date(), data["amount"]))
    return paid


def unmet(loan: dict[str, Any], paid: list[tuple[date, int]], on: date) -> list[date]:
    """Return the due dates of the instalments that are overdue, oldest first: money goes to the oldest."""
    money = sum(amount for day, amount in paid if day <= on)
    overdue = []
    for instalment in loan["schedule"]:
        money -= instalment["principal"]
        due_on = date.fromisoformat(instalment["due_on"])
        if money < 0 and due_on < on:
            overdue.append(due_on)
    return overdue


def test_every_event_id_is_unique_and_well_formed() -> None:
    ids = [event["id"] for event in EVENTS]
    assert len(ids) == len(set(ids))
    assert all(ID.fullmatch(identity) for identity in ids)


def test_the_same_accounts_and_date_give_the_same_events() -> None:
    assert tuple(events(ACCOUNTS, ends_on=ENDS_ON)) == EVENTS


def test_an_account_gives_the_same_events_alone_as_among_others() -> None:
    alone = list(events(ACCOUNTS[7:8], ends_on=ENDS_ON))
    assert alone == [event for event in EVENTS if event["id"].startswith(f"uci-{ACCOUNTS[7].number}-")]


def test_every_event_has_the_attributes_of_a_cloudevent() -> None:
    for event in EVENTS:
        assert set(event) == {"specversion", "id", "source", "type", "time", "subject", "data"}
        assert event["subject"] in {event["data"].get("loan_id"), event["data"].get("borrower_id")}
        assert datetime.fromisoformat(event["time"]).utcoffset() == timedelta(hours=8)


def test_every_event_is_one_that_the_contract_takes() -> None:
    contract = {**LOAN_EVENTS, **BORROWER_EVENTS}
    for event in EVENTS:
        msgspec.json.decode(msgspec.json.encode(event["data"]), type=contract[event["type"]])


@pytest.mark.parametrize("ends_on", [ENDS_ON, date(2024, 2, 29), date(2025, 3, 1), date(2026, 1, 31)])
def test_the_history_ends_before_the_given_date(ends_on: date) -> None:
    times = [datetime.fromisoformat(event["time"]) for event in events(ACCOUNTS, ends_on=ends_on)]
    assert max(times).astimezone(ZONE).date() < ends_on
    assert max(times).astimezone(ZONE).date() >= ends_on - timedelta(days=3)


def test_an_account_s_events_come_in_the_order_of_their_time() -> None:
    for account in ACCOUNTS[:50]:
        times = [event["time"] for event in events([account], ends_on=ENDS_ON)]
        assert times == sorted(times)


def test_the_timeline_holds_all_events_in_the_order_of_their_time() -> None:
    ordered = list(timeline(ACCOUNTS, ENDS_ON))
    assert all(a["time"] <= b["time"] for a, b in pairwise(ordered))
    assert sorted(event["id"] for event in ordered) == sorted(event["id"] for event in EVENTS)


def test_repayments_add_up_to_what_the_file_says_was_paid() -> None:
    paid = {loan: sum(amount for _, amount in rows) for loan, rows in paid_by_loan().items()}
    assert paid == {f"uci-l-{account.number}": sum(account.payments) * 100 for account in ACCOUNTS if any(account.payments)}


def test_nobody_pays_more_than_the_schedule_asks() -> None:
    paid = paid_by_loan()
    for loan in of("loan.disbursed"):
        assert sum(amount for _, amount in paid[loan["loan_id"]]) <= sum(row["principal"] for row in loan["schedule"])


def test_schedules_are_numbered_ascending_and_positive() -> None:
    for loan in of("loan.disbursed"):
        schedule = loan["schedule"]
        assert [row["n"] for row in schedule] == list(range(1, len(schedule) + 1))
        assert all(isinstance(row["principal"], int) and row["principal"] > 0 for row in schedule)
        assert loan["disbursed_on"] < schedule[0]["due_on"]
        assert all(a["due_on"] < b["due_on"] for a, b in pairwise(schedule))
        assert schedule[-1]["due_on"] <= (ENDS_ON + timedelta(days=26)).isoformat()


def test_one_account_is_one_borrower_and_at_most_one_loan_of_its_own() -> None:
    assert [data["borrower_id"] for data in of("borrower.updated")] == [f"uci-b-{account.number}" for account in ACCOUNTS]
    loans = of("loan.disbursed")
    assert all(loan["borrower_id"].replace("-b-", "-l-") == loan["loan_id"] for loan in loans)
    assert len({loan["loan_id"] for loan in loans}) == len(loans)
    assert {data["loan_id"] for data in of("repayment.received")} <= {loan["loan_id"] for loan in loans}


def test_every_borrower_consents_on_every_channel_that_has_an_address() -> None:
    consents = Counter((data["borrower_id"], data["channel"]) for data in of("borrower.consent") if data["granted"])
    addresses = Counter((data["borrower_id"], address["channel"]) for data in of("borrower.updated") for address in data["addresses"])
    assert consents == addresses
    assert set(consents.values()) == {1}


def test_addresses_are_reserved_ones_and_the_example_shares_none() -> None:
    forms = {"sms": r"\+447700900\d{3}", "email": r"account-\d+@example\.org", "push": r"example-push-\d+"}
    addresses = [(address["channel"], address["address"]) for data in of("borrower.updated") for address in data["addresses"]]
    assert all(re.fullmatch(forms[channel], address) for channel, address in addresses)
    assert len(set(addresses)) == len(addresses)


def test_both_locales_are_used_about_equally() -> None:
    assert Counter(data["locale"] for data in of("borrower.updated")) == {"zh": 250, "en": 250}


def observations() -> list[tuple[Account, int, int]]:
    """Return, for each account and statement, how many instalments are overdue three weeks after the due date."""
    loans = {loan["loan_id"]: loan for loan in of("loan.disbursed")}
    paid = paid_by_loan()
    found = []
    for account in ACCOUNTS:
        loan = loans.get(f"uci-l-{account.number}")
        for statement in range(4) if loan else ():
            assert loan is not None
            newest = ENDS_ON + timedelta(days=(account.number % 60 * 17 + account.number // 60) % 27)
            on = newest - timedelta(days=(5 - statement) * 30.4375) + timedelta(days=21)
            found.append((account, statement, len(unmet(loan, paid[loan["loan_id"]], on))))
    return found


def test_the_lateness_of_the_events_is_that_of_the_data() -> None:
    compared = [(missed(account.statuses[statement]), overdue) for account, statement, overdue in observations()]
    late = [(expected, overdue) for expected, overdue in compared if expected]
    assert sum(expected == overdue for expected, overdue in compared) / len(compared) > 0.96
    assert sum(expected == overdue for expected, overdue in late) / len(late) > 0.78
    assert sum(abs(expected - overdue) <= 1 for expected, overdue in late) / len(late) > 0.95
    assert not [pair for pair in compared if pair[0] == 0 and pair[1] > 0]


def test_an_account_that_paid_in_full_is_never_overdue() -> None:
    good = {account.number for account in ACCOUNTS if max(account.statuses) <= 0}
    assert len(good) > 200
    assert not [account for account, _, overdue in observations() if account.number in good and overdue]


def test_days_past_due_grow_from_the_first_missed_instalment() -> None:
    rows = [account for account in ACCOUNTS if account.statuses[:5] == (0, 0, 0, 0, 2)]
    loans = {loan["loan_id"]: loan for loan in of("loan.disbursed")}
    paid = paid_by_loan()
    assert rows
    for account in rows:
        loan = loans[f"uci-l-{account.number}"]
        missed_on = date.fromisoformat(loan["schedule"][-2]["due_on"])
        for day in (1, (ENDS_ON - missed_on).days):
            assert unmet(loan, paid[loan["loan_id"]], missed_on + timedelta(days=day)) == [missed_on]


def test_the_policy_finds_borrowers_to_contact_over_the_last_150_days() -> None:
    paid = paid_by_loan()
    contacts: Counter[int] = Counter()
    for loan in of("loan.disbursed"):
        for row in loan["schedule"]:
            due_on = date.fromisoformat(row["due_on"])
            for day in (1, 3, 7):
                on = due_on + timedelta(days=day)
                if ENDS_ON - timedelta(days=150) <= on < ENDS_ON and unmet(loan, paid[loan["loan_id"]], on)[:1] == [due_on]:
                    contacts[day] += 1
    assert min(contacts[day] for day in (1, 3, 7)) > 100


@pytest.mark.parametrize(
    "word",
    ["name", "phone", "e-mail", "push token", "locale", "consent", "jurisdiction", "time zone", "Months are moved", "minimum due",
     "due day", "opened", "day of a payment", "before April", "TWD", "left out", "conflicts", "share one", "no interest"],
)  # fmt: skip
def test_the_assumptions_name_everything_that_is_made_up(word: str) -> None:
    assert word.lower() in " ".join(ASSUMPTIONS).lower()


def test_the_example_s_readme_carries_every_assumption_and_the_attribution() -> None:
    readme = (Path(__file__).resolve().parents[3] / "examples" / "README.md").read_text(encoding="utf-8")
    assert [assumption for assumption in ASSUMPTIONS if f"- {assumption}\n" not in readme] == []
    assert all(part in readme for part in ("I-Cheng Yeh", "2016", "CC BY 4.0", "10.24432/C55S3H", "500 of the 30,000 rows"))
