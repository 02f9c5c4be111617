"""The documents' links and references to code all resolve."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").glob("*.md"), *(ROOT / "examples").glob("*.md")]
PLACE = re.compile(r"`((?:services|libs|tests|examples|deploy)/[\w/.]+)(?::([\w.]+))?`")
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not [*_lost_places(text), *_lost_links(page, text)]


def _lost_places(text: str) -> Iterator[str]:
    for path, names in PLACE.findall(text):
        if not (ROOT / path).exists():
            yield path
        elif names:
            code = (ROOT / path).read_text(encoding="utf-8")
            found = (re.search(rf"^\s*(?:(?:async )?def|class)? ?{name}\b\s*[(:=\[]", code, re.MULTILINE) for name in names.split("."))
            yield from (f"{path}:{name}" for name, one in zip(names.split("."), found, strict=True) if one is None)


def _lost_links(page: Path, text: str) -> Iterator[str]:
    for path, heading in LINK.findall(text):
        target = (page.parent / path) if path else page
        if path.startswith("http"):
            continue
        if not target.exists():
            yield path
        elif heading and heading not in _headings(target):
            yield f"{path}#{heading}"


def _headings(page: Path) -> set[str]:
    """Return the anchors of a page, as code hosts make them from its headings."""
    plain = re.sub(r"`|\[([^\]]*)\]\([^)]*\)", r"\1", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"^#+ (.+)$", plain, re.MULTILINE)}
