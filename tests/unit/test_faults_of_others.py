"""What docs/faults-of-others.md says about our tests, and those faults of others that are visible in code alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_page_on_the_faults_of_others_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "faults-of-others.md").read_text()))
    written = {name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    assert named
    assert named - written == set()


def is_part_of_a_duration(node: ast.AST) -> bool:
    """Tell whether this is the `seconds` of a `timedelta`, which restart every day."""
    return isinstance(node, ast.Attribute) and node.attr in {"seconds", "microseconds"} and isinstance(node.ctx, ast.Load)


def is_one_of_two_errors(node: ast.AST) -> bool:
    """Tell whether this is `except A or B`, which only catches A."""
    return isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.BoolOp)


def places(source: str, where: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if is_part_of_a_duration(node) or is_one_of_two_errors(node):
            yield f"{where}:{node.lineno}"  # type: ignore[attr-defined]  # both kinds of node have a line


def test_no_age_is_taken_by_the_seconds_of_a_duration_and_no_error_is_caught_by_an_or() -> None:
    files = [file for folder in ("services", "libs") for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 100
    assert [place for file in files for place in places(file.read_text("utf-8"), file.relative_to(ROOT).as_posix())] == []


@pytest.mark.parametrize("source", ["age = (now - at).seconds", "try:\n    f()\nexcept KeyError or ValueError:\n    pass"])
def test_both_are_seen_where_they_are(source: str) -> None:
    assert len(list(places(source, "x"))) == 1
