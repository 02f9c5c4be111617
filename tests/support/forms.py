"""What a browser without scripts sees of a page: its forms and its readable text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self


@dataclass
class PageSeen(HTMLParser):
    """A parsed page."""

    forms: list[dict[str, str]] = field(default_factory=list)
    tags: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    language: str = ""
    direction: str = ""
    _within: bool = False
    _silent: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def of(cls, html: str) -> Self:
        """Parse a page."""
        seen = cls()
        seen.feed(html)
        return seen

    @property
    def text(self) -> str:
        """Return the text a reader sees."""
        return " ".join(" ".join(self.said).split())

    def form(self, act: str, **asked: str) -> dict[str, str]:
        """Return the fields of the form that does this, filled in."""
        [found] = [form for form in self.forms if form.get("act") == act]
        return {**found, **asked}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and the fields of a form."""
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        self._silent = tag in ("style", "script", "title") or (self._silent and tag != "body")
        match tag:
            case "html":
                self.language, self.direction = given.get("lang", ""), given.get("dir", "")
            case "form":
                self.forms.append({})
                self._within = True
            case "input" if self._within and given.get("type") != "radio":
                self.forms[-1][given["name"]] = given.get("value", "")
            case _:
                pass

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a form, and of text that is not shown."""
        self._within = self._within and tag != "form"
        self._silent = self._silent and tag not in ("style", "script", "title")

    def handle_data(self, data: str) -> None:
        """Note text that is shown."""
        if not self._silent:
            self.said.append(data)
