"""How a text would read: tried with a sample, with its cost as SMS and the rules' objections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from libs.common.contracts.values import Attributes
from libs.common.errors import DomainError
from libs.common.locales import written_for
from libs.common.money import exponent
from services.notifier import samples
from services.notifier.domain.message import Rendered, Saying, TextRef, draft
from services.notifier.domain.segments import Segments, segments
from services.notifier.domain.tenant import Price
from services.notifier.publishing import Found, Publisher, Trial, content_problems
from services.notifier.rendering import Compiled, RenderError, Source, compiled, problems
from services.notifier.samples import Sum
from services.notifier.store import templates
from services.notifier.texts import SHIPPED


@dataclass(frozen=True, slots=True)
class Asked:
    """A text to try, given in full or by name, and the sample to try it with."""

    name: str | None
    version: int | None
    source: Source | None
    locale: str
    channel: str
    purpose: str
    jurisdictions: Sequence[str] | None
    borrower: str | None = samples.NAME
    debts: Sequence[Sum] = samples.ONE
    variables: Attributes = field(default_factory=dict)
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """The result of trying a text; without the text if none could be made."""

    ref: TextRef
    asks: list[str]
    problems: list[Found]
    text: Rendered | None = None
    sms: dict[str, object] | None = None


async def preview(publisher: Publisher, tenant: str, asked: Asked) -> Preview:
    """Return how a text would read."""
    publisher.known(asked.jurisdictions)
    lender, mine = await publisher.lender(tenant)
    if asked.source is not None and (found := problems(asked.source, asked.channel)):
        wrong: list[Found] = [{"kind": "template", "part": p.part, "line": p.line, "detail": p.detail} for p in found]
        return Preview(_ref(asked), [], wrong)
    text = await _text(publisher, tenant, asked)
    trial = Trial(asked.source or Source(""), text.ref, asked.purpose, asked.jurisdictions, lender)
    async with publisher.engine.connect() as conn:
        asks = publisher.asks(trial, await publisher.clock.at(conn))
    link = samples.link(publisher.texts.links) if asked.channel in mine.link_channels else None
    saying = Saying(
        lender, written_for(text.ref.locale, asked.locale, mine.default_locale), plain=asked.channel == "sms",
        reminder=asked.purpose == "reminder", asks=asks, variables=asked.variables, link=link,
    )  # fmt: skip
    said = draft(samples.facts(asked.debts), saying)
    names = sorted(kind.value for kind in asks)
    try:
        read = text.render(said, name=asked.borrower)
    except RenderError as error:
        return Preview(text.ref, names, [{"kind": "template", "part": None, "line": None, "detail": str(error)}])
    sms = _sms(segments(read.body), asked.price or mine.sms_part_price) if asked.channel == "sms" else None
    return Preview(text.ref, names, list(content_problems(read, text.ref, said)), read, sms)


async def _text(publisher: Publisher, tenant: str, asked: Asked) -> Compiled:
    """Return the requested text: the one given, a stored version, or what a reader of this locale would get now."""
    if asked.source is not None:
        return compiled(asked.source, _ref(asked))
    name = asked.name or ""
    async with publisher.engine.connect() as conn:
        if asked.version:
            row = await templates.find(conn, tenant, name, asked.version)
            if row is None or (row.locale, row.channel) != (asked.locale, asked.channel):
                raise DomainError(404, "not_found", f"version {asked.version} of {name!r} is not for {asked.locale} and {asked.channel}")
            source = Source(row.body, row.subject, row.html)
            if found := problems(source, asked.channel):
                raise DomainError(422, "template_refused", f"{found[0].part}: {found[0].detail}")
            return compiled(source, _ref(asked))
        shelf = await publisher.texts.laid_out(conn, [(tenant, name)])
    try:
        if asked.version == SHIPPED:
            return publisher.texts.shipped[name, asked.locale, asked.channel].text
        return shelf.find(tenant, name, asked.channel, locale=asked.locale)
    except (RenderError, KeyError) as error:
        raise DomainError(404, "not_found", f"there is no text {name!r} for {asked.channel} in {asked.locale}") from error


def _ref(asked: Asked) -> TextRef:
    return TextRef(asked.name or "", asked.locale, asked.channel, asked.version or SHIPPED)


def _sms(cut: Segments, price: Price | None) -> dict[str, object]:
    number = len(cut.parts)
    return {
        "encoding": cut.encoding.value, "units": cut.units, "parts": number, "texts": cut.parts, "forcing": cut.forcing,
        "cost": _cost(number, price) if price is not None else None,
    }  # fmt: skip


def _cost(parts: int, price: Price) -> dict[str, object]:
    """Return the cost, exact in millionths and rounded up to the minor unit."""
    millionths = parts * price.millionths
    return {
        "millionths": millionths, "amount": -(-millionths * 10 ** exponent(price.currency) // 10**6), "currency": price.currency,
    }  # fmt: skip
