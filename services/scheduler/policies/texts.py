"""Checks that the templates a document names exist: they are the notifier's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from libs.common.slips import near
from services.scheduler.policies.forms import SendForm
from services.scheduler.policies.places import Fault, Path
from services.scheduler.policies.reading import Document


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts in force as (name, channel, locale), and the default locale for readers whose own is unknown."""

    there: frozenset[tuple[str, str, str]]
    default_locale: str | None = None


@dataclass(frozen=True, slots=True)
class NoTexts:
    """It is unknown which texts exist."""

    why: str


def text_warnings(document: Document, texts: Texts | NoTexts) -> tuple[Fault, ...]:
    """Return warnings about missing texts, or that they could not be looked up."""
    if document.form is None:
        return ()
    if isinstance(texts, NoTexts):
        return (document.read.fault((), "texts_unknown", f"it is not known whether the texts exist: {texts.why}"),)
    found = (
        one
        for n, step in enumerate(document.form.steps)
        if step.send is not None
        for one in _missing(("steps", n, "send", "template"), step.send, texts)
    )
    return tuple(document.read.fault(path, code, detail) for path, code, detail in found)


def _missing(path: Path, send: SendForm, texts: Texts) -> Iterator[tuple[Path, str, str]]:
    wanted = texts.default_locale
    for channel in send.channels:
        locales = {locale for name, of, locale in texts.there if (name, of) == (send.template, channel)}
        if not locales:
            known = sorted({name for name, of, _ in texts.there if of == channel})
            yield path, "missing_template", f"no text {send.template} for {channel} is in force: {near(send.template, known)}"
        elif wanted is not None and not locales & {wanted, wanted.partition("-")[0]}:
            yield path, "missing_locale", f"the text {send.template} for {channel} does not exist in {wanted}, the default language"
