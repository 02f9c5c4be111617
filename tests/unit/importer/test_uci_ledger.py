from hypothesis import given
from hypothesis import strategies as st

from services.importer.uci import Account
from services.importer.uci_ledger import Asked, Paid, minimum_due, missed, rebuild

accounts = st.builds(
    Account,
    number=st.integers(1, 30_000),
    limit=st.integers(0, 10**6),
    statuses=st.tuples(*[st.integers(-2, 8)] * 6),
    balances=st.tuples(*[st.integers(-5_000, 500_000)] * 6),
    payments=st.tuples(*[st.one_of(st.just(0), st.integers(0, 300_000))] * 6),
)


def account(statuses: tuple[int, ...], payments: tuple[int, ...], balance: int = 40_000) -> Account:
    return Account(number=1, limit=100_000, statuses=statuses, balances=(balance,) * 6, payments=payments)


def test_a_revolving_account_meets_each_instalment_with_its_payment() -> None:
    ledger = rebuild(account((0,) * 6, (2_100, 2_200, 2_300, 2_400, 2_500, 2_600)))
    assert ledger.asked == (*(Asked(k, 2_200 + k * 100) for k in range(-1, 5)), Asked(5, 2_000))
    assert ledger.paid == tuple(Paid(k, 2_200 + k * 100, behind=False) for k in range(-1, 5))


def test_a_missed_month_is_made_up_for_by_the_next_payment() -> None:
    ledger = rebuild(account((0, 2, 0, 0, 0, 0), (2_000, 2_000, 0, 5_000, 2_000, 2_000)))
    assert [a.amount for a in ledger.asked] == [2_000, 2_000, 2_500, 2_500, 2_000, 2_000, 2_000]
    assert [p.behind for p in ledger.paid] == [False, False, True, False, False]


def test_an_account_that_stays_one_behind_pays_the_instalment_before() -> None:
    ledger = rebuild(account((0, 2, 2, 2, 2, 2), (2_000, 2_000, 0, 2_100, 2_200, 2_300)))
    assert [a.amount for a in ledger.asked] == [2_000, 2_000, 2_100, 2_200, 2_300, 2_000, 2_000]
    assert sum(p.amount for p in ledger.paid) == 10_600


def test_what_was_missed_before_april_is_asked_for_too() -> None:
    ledger = rebuild(account((4, 5, 6, 7, 8, 8), (0,) * 6))
    assert ledger.asked == tuple(Asked(k, 2_000) for k in range(-2, 6))
    assert ledger.paid == ()


def test_a_partial_payment_leaves_the_minimum_open() -> None:
    ledger = rebuild(account((0, 0, 0, 0, 2, 2), (2_000, 2_000, 2_000, 2_000, 2_000, 700)))
    assert ledger.asked[-2:] == (Asked(4, 2_700), Asked(5, 2_000))


def test_an_unused_card_asks_for_nothing() -> None:
    assert rebuild(account((-2,) * 6, (0,) * 6, balance=0)).asked == ()


def test_the_minimum_due_is_a_share_with_a_floor_and_never_more_than_the_balance() -> None:
    assert [minimum_due(balance) for balance in (-10, 0, 400, 1_000, 19_999, 20_001, 100_000)] == [0, 0, 400, 1_000, 1_000, 1_001, 5_000]


def test_status_two_is_one_missed_instalment() -> None:
    assert [missed(status) for status in (-2, -1, 0, 1, 2, 3, 8)] == [0, 0, 0, 0, 1, 2, 7]


@given(accounts)
def test_what_is_asked_is_what_was_paid_and_the_minima_still_open(account: Account) -> None:
    ledger = rebuild(account)
    paid = sum(p.amount for p in ledger.paid)
    assert paid == sum(account.payments)
    still_open = sum(a.amount for a in ledger.asked) - paid
    assert 0 <= still_open <= 13 * max(minimum_due(balance) for balance in account.balances)


@given(accounts)
def test_every_instalment_is_positive_and_stands_once_in_order(account: Account) -> None:
    asked = rebuild(account).asked
    assert all(a.amount > 0 for a in asked)
    assert [a.statement for a in asked] == sorted({a.statement for a in asked})
