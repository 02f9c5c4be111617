"""Which event holds a key of a loan, and what becomes of another event that claims it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest import decoding
from services.ingest.contesting import Conflict, Keys, Repeat, Take
from services.ingest.reading import business_key
from services.ingest.store.events import LogRow

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def row(name: str, known_as: str, at: int, sent_by: str, /, **data: Any) -> LogRow:
    said = {"specversion": "1.0", "id": known_as, "source": sent_by, "type": f"wallet.{name}.v1", "time": NOON + timedelta(minutes=at)}
    event = decoding.structured(msgspec.json.encode({**said, "data": {"loan_id": "L1", **data}}))
    assert isinstance(event, decoding.WalletEvent), event
    key = business_key(event.data)  # type: ignore[arg-type]  # an event about a loan
    return LogRow("t", "L1", sent_by, known_as, event.type, event.time, key, event.content, None, NOON)


def paid(event_id: str, amount: int = 100, *, key: str = "r1", at: int = 0) -> LogRow:
    return row("repayment.received", event_id, at, "wallet", repayment_id=key, amount=amount, paid_at=NOON.isoformat())


def back(event_id: str, of: str, at: int = 1, *, source: str = "wallet", target: str | None = None) -> LogRow:
    return row("event.retracted", event_id, at, source, event_id=of, **({} if target is None else {"source": target}))


def keyless(one: LogRow) -> LogRow:
    return msgspec.structs.replace(one, business_key=None)


def test_an_event_under_a_free_key_is_taken_and_holds_it() -> None:
    keys = Keys([], whole=True)
    assert keys.judge(paid("a")) == Take(paid("a"))
    assert keys.judge(paid("b")) == Repeat(other_id=True)
    assert keys.judge(paid("c", 200)) == Conflict("event a (wallet.repayment.received.v1) has repayment_id r1 with different data")
    assert keys.judge(paid("d", 200, key="r2")) == Take(paid("d", 200, key="r2"))


def test_what_is_retracted_holds_no_key_and_the_next_one_does() -> None:
    keys = Keys([paid("a"), back("x", "a")], whole=False)
    assert keys.changed == [keyless(paid("a"))]
    assert keys.judge(paid("b", 200)) == Take(paid("b", 200))
    assert isinstance(keys.judge(paid("c", 300)), Conflict)


def test_what_was_retracted_before_it_came_is_taken_without_the_key() -> None:
    keys = Keys([paid("b", 200), back("x", "a")], whole=False)
    assert keys.judge(paid("a")) == Take(keyless(paid("a")))
    assert keys.judge(paid("c", 200)) == Repeat(other_id=True)


def test_other_content_under_a_retracted_id_changes_nothing() -> None:
    assert Keys([paid("a"), back("x", "a")], whole=False).judge(paid("a", 200)) == Repeat(other_id=False)
    assert isinstance(Keys([paid("a")], whole=False).judge(paid("a", 200)), Conflict)


@pytest.mark.parametrize(("source", "target", "freed"), [("wallet", None, True), ("desk", None, False), ("desk", "wallet", True)])
def test_a_retraction_means_its_own_source_unless_it_names_another(source: str, target: str | None, *, freed: bool) -> None:
    keys = Keys([paid("a"), back("x", "a", source=source, target=target)], whole=False)
    assert isinstance(keys.judge(paid("b", 200)), Take) is freed


def test_a_key_comes_back_when_the_retraction_is_retracted_unless_another_holds_it() -> None:
    undone = [keyless(paid("a")), back("x", "a"), back("y", "x", at=2)]
    assert Keys(undone, whole=True).changed == [paid("a")]
    assert isinstance(Keys(undone, whole=True).judge(paid("b", 200)), Conflict)
    assert Keys([*undone, paid("b", 200)], whole=True).changed == []


EVENTS = [paid("a"), paid("b", 200), paid("c", 200), paid("d", 300, key="r2"), back("x", "a"), back("y", "b"), back("z", "x", at=2)]


@given(order=st.permutations(EVENTS), number=st.integers(0, len(EVENTS)))
def test_whatever_stands_a_key_is_held_by_one_event_at_most_and_by_none_that_is_retracted(order: list[LogRow], number: int) -> None:
    standing: dict[str, LogRow] = {}
    for one in order[:number]:
        keys = Keys(standing.values(), whole=True)
        standing |= {row.event_id: row for row in keys.changed}
        match keys.judge(one):
            case Take(taken):
                standing[taken.event_id] = taken
            case _:
                pass
    standing |= {row.event_id: row for row in Keys(standing.values(), whole=True).changed}
    held = [row.business_key for row in standing.values() if row.business_key is not None]
    assert len(held) == len(set(held))
    live = {"a": "x" not in standing or "z" in standing, "b": "y" not in standing}
    assert all(live.get(row.event_id, True) for row in standing.values() if row.business_key is not None)
