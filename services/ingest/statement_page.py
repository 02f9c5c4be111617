"""A loan's statement as one self-contained page for printing: no scripts, no external resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from libs.common.money import written
from libs.common.pages import Page
from services.ingest.domain.statement import Owed
from services.ingest.domain.trail import COMPONENTS
from services.ingest.reading import zone_of
from services.ingest.statement_forms import Stated, sides_of

LOCALE = "en"


@dataclass(frozen=True, slots=True)
class StatementPage:
    """The compiled page."""

    page: Page

    @classmethod
    def load(cls) -> StatementPage:
        """Compile the shipped templates."""
        return cls(Page.load(__package__, "statement.html.j2", "statement.css.j2"))

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the HTTP headers of the page."""
        return self.page.headers

    def render(self, stated: Stated) -> str:
        """Return the page."""
        shown = stated.statement.shown
        return self.page.template.render(
            stated=stated,
            statement=stated.statement,
            shown=shown,
            book=shown.book,
            doubt=stated.record["doubt"],
            zone=zone_of(shown.book.timezone),
            money=partial(written, currency=shown.book.currency, locale=LOCALE),
            components=(*COMPONENTS, "total"),
            sides_of=sides_of,
            names_of=_names_of,
        )


def _names_of(one: Owed) -> tuple[str, ...]:
    """Return the components that an instalment has, and the total unless there is just one component."""
    sides = [amounts.amounts for amounts in sides_of(one).values()]
    had = tuple(component for at, component in enumerate(COMPONENTS) if any(amounts[at] for amounts in sides))
    return had if len(had) == 1 else (*had, "total")
