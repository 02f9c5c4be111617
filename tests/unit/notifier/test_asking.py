"""What a provider's answer to a question means for a message whose outcome was unknown."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.asking import NEVER_TAKEN, PAUSES, Question, Search, meaning
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.results import NotSent

AT = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
QUESTION = Question("m-1", "+12025550123", AT, AT + timedelta(seconds=5))
STANDINGS = st.sampled_from(Standing)


def named(standing: Standing, message: str = "m-1", ref: str = "r-1") -> Receipt:
    return Receipt(standing, message_id=message, provider_ref=ref)


def nameless(ref: str, standing: Standing = Standing.SENT) -> Receipt:
    return Receipt(standing, provider_ref=ref)


@given(standings=st.lists(STANDINGS, min_size=1, max_size=4), others=st.integers(0, 3), whole=st.booleans(), seed=st.integers())
def test_what_stands_under_our_id_is_the_message_at_its_highest_whatever_else_is_found(
    standings: list[Standing], others: int, whole: bool, seed: int
) -> None:
    found = [*map(named, standings), *(named(Standing.DELIVERED, f"m-{n + 2}") for n in range(others)), nameless("r-9")]
    random.Random(seed).shuffle(found)
    said = meaning(Search(tuple(found), whole), QUESTION, (), absence_counts=True)
    assert isinstance(said, Receipt)
    assert (said.message_id, said.standing) == ("m-1", max(standings))


@given(refs=st.sets(st.sampled_from("abcd"), max_size=4), known=st.sets(st.sampled_from("abcd")), whole=st.booleans(), counts=st.booleans())
def test_what_nobody_names_is_the_message_only_where_nothing_else_could_be(
    refs: set[str], known: set[str], whole: bool, counts: bool
) -> None:
    search = Search(tuple(map(nameless, sorted(refs))), whole)
    said = meaning(search, QUESTION, known, absence_counts=counts)
    left = refs - known
    if whole and len(left) == 1:
        assert said == nameless(left.pop())
    elif whole and counts and not left:
        assert said == NotSent(NEVER_TAKEN)
    else:
        assert said is None


def test_an_absence_that_proves_nothing_says_nothing() -> None:
    assert meaning(Search((), whole=True), QUESTION, (), absence_counts=False) is None
    assert meaning(Search((), whole=False), QUESTION, (), absence_counts=True) is None
    assert meaning(Search((named(Standing.SENT, "m-2"),), whole=False), QUESTION, (), absence_counts=True) is None


def test_questions_come_further_and_further_apart() -> None:
    gaps = [after - before for before, after in zip((timedelta(), *PAUSES), PAUSES, strict=False)]
    assert gaps == sorted(gaps)
    assert len(PAUSES) <= 5
