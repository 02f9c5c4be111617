"""A loan's statement as one page that stands alone: no script, nothing from elsewhere, made to be printed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from libs.common.money import written
from services.ingest.domain.statement import Owed
from services.ingest.domain.trail import COMPONENTS
from services.ingest.reading import zone_of
from services.ingest.statement_forms import Stated, sides_of

LOCALE = "en"


def _source(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class StatementPage:
    """The compiled page, and the headers under which a browser shows it: with its own style and nothing else."""

    template: Template
    headers: Mapping[str, str]

    @classmethod
    @cache
    def load(cls) -> StatementPage:
        """Compile the shipped templates, once a process: they are constants."""
        environment = Environment(
            autoescape=True, loader=FunctionLoader(_source), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        style = environment.get_template("statement.css.j2").render()
        allowed = b64encode(sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        return cls(environment.get_template("statement.html.j2"), headers)

    def render(self, stated: Stated) -> str:
        """Return the page."""
        shown = stated.statement.shown
        return self.template.render(
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
    """Return the components that an instalment has, and the total where that says more."""
    sides = [amounts.amounts for amounts in sides_of(one).values()]
    had = tuple(component for at, component in enumerate(COMPONENTS) if any(amounts[at] for amounts in sides))
    return had if len(had) == 1 else (*had, "total")
