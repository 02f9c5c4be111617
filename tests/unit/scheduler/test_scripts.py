"""What a person is told to do."""

from __future__ import annotations

import pytest

from services.scheduler.domain import builtin
from services.scheduler.domain.matters import MatterKind
from services.scheduler.domain.policy import ENDING, Work
from services.scheduler.domain.scripts import SCRIPTS, script_of

GIVEN = [value for value in vars(builtin).values() if isinstance(value, Work)] + [ENDING]


@pytest.mark.parametrize("kind", sorted({work.kind for work in GIVEN} | {kind.value for kind in MatterKind}))
def test_all_work_that_is_given_without_a_policy_says_what_is_to_be_done(kind: str) -> None:
    assert script_of(kind, None)


def test_what_a_policy_says_goes_before() -> None:
    assert script_of("complaint", "Call back.") == "Call back."
    assert script_of("call", None) is None
    assert "call" not in SCRIPTS
