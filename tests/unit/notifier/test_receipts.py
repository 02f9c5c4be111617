"""What receipts come to does not depend on when or how often they arrive."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.receipts import Receipt, Reduced, Standing, reduced

WORDS = st.builds(
    Receipt,
    standing=st.none() | st.sampled_from(Standing),
    code=st.none() | st.sampled_from(["30003", "30005"]),
    fault=st.sampled_from(["none", "provider", "invalid_address", "opted_out"]),
)


@given(receipts=st.lists(WORDS), cut=st.integers(0, 10), seed=st.integers())
def test_any_order_and_repetition_and_any_cut_into_batches_comes_to_the_same(receipts: list[Receipt], cut: int, seed: int) -> None:
    chance = random.Random(seed)
    shuffled = receipts + chance.choices(receipts, k=len(receipts)) if receipts else []
    chance.shuffle(shuffled)
    assert reduced(shuffled[cut:], reduced(shuffled[:cut])) == reduced(receipts)


@given(receipts=st.lists(WORDS), more=st.lists(WORDS))
def test_a_later_word_never_takes_back_how_far_it_came_nor_that_the_person_wants_no_more(
    receipts: list[Receipt], more: list[Receipt]
) -> None:
    before = reduced(receipts)
    after = reduced(more, before)
    assert (after.standing if after.standing is not None else -1) >= (before.standing if before.standing is not None else -1)
    assert after.opted_out or not before.opted_out


def test_what_has_arrived_stays_arrived_when_a_failure_is_told_later() -> None:
    told = [Receipt(Standing.DELIVERED), Receipt(Standing.FAILED, code="30003", fault="provider")]
    assert reduced(told) == Reduced(Standing.DELIVERED, frozenset({("30003", "provider")}))


def test_a_complaint_changes_nothing_of_what_arrived() -> None:
    assert reduced([Receipt(None, fault="opted_out")], Reduced(Standing.DELIVERED)).standing is Standing.DELIVERED
