"""The HTML of a mail: which tags it may contain, and what of it a reader sees."""

from __future__ import annotations

from html.parser import HTMLParser

TAGS = frozenset({
    "html", "head", "title", "meta", "body", "table", "thead", "tbody", "tr", "td", "th", "p", "br", "hr", "div", "span", "h1", "h2", "h3",
    "strong", "em", "b", "i", "u", "small", "ul", "ol", "li", "a", "img",
})  # fmt: skip
ATTRIBUTES = frozenset({
    "href", "src", "alt", "title", "width", "height", "style", "align", "valign", "border", "cellpadding", "cellspacing", "bgcolor",
    "role", "lang", "dir", "colspan", "rowspan", "charset",
})  # fmt: skip
SCHEMES = ("https://", "mailto:")
_OPENING = ("{{", "{%", "{#")
_ITS_PAGE = ("a", "href", "{{ link }}")
_LINK = 'href="{{ link }}"'
"""The only placeholder allowed inside a tag: we make the link ourselves, from characters allowed in URLs."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[str] = []
        self.refused: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(" ")
        if any(opening in (self.get_starttag_text() or "").replace(_LINK, "") for opening in _OPENING):
            self._refuse("a placeholder is not allowed inside a tag")
        if tag not in TAGS:
            self._refuse(f"the tag <{tag[:32]}> is not allowed")
        for name, value in attrs:
            self._attribute(tag, name, value or "")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  # the parser's signature
        self.seen.append(" ")

    def handle_data(self, data: str) -> None:
        self.seen.append(data)

    def handle_comment(self, data: str) -> None:  # noqa: ARG002  # the parser's signature
        self._refuse("a comment is not allowed in a mail")

    def handle_pi(self, data: str) -> None:  # noqa: ARG002  # the parser's signature
        self._refuse("a processing instruction is not allowed in a mail")

    def unknown_decl(self, data: str) -> None:  # noqa: ARG002  # the parser's signature
        self._refuse("a declaration is not allowed in a mail")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name not in ATTRIBUTES:
            self._refuse(f"the attribute {name[:32]!r} is not allowed")
        elif name in {"href", "src"} and not (value.strip().lower().startswith(SCHEMES) or (tag, name, value) == _ITS_PAGE):
            self._refuse(f"{name} must begin with https:// or mailto:")
        elif name == "style" and any(word in value.lower() for word in ("url(", "expression", "display", "visibility", "@import")):
            self._refuse("a style may neither load nor hide anything")

    def _refuse(self, detail: str) -> None:
        self.refused.append((detail, self.getpos()[0]))


def refused(source: str) -> tuple[str, int] | None:
    """Return the first thing an HTML template must not contain, with its line, or None."""
    reader = _read(source)
    return reader.refused[0] if reader.refused else None


def visible(html: str) -> str:
    """Return the visible text of a page."""
    return "".join(_read(html).seen)


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader
