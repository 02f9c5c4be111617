"""Texts from templates: vetted, compiled once in an immutable sandbox; an unknown variable is an error, output is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from libs.common.value import Value, replace
from libs.compliance import ContentKind, Fault
from libs.compliance import Text as Read
from libs.compliance import faults as content_faults
from libs.compliance.content import PREVIEWS, Part
from services.notifier import markup
from services.notifier.domain.message import DebtLine, Draft, Rendered, Split, TextRef, in_one_line
from services.notifier.domain.segments import count_parts
from services.notifier.vetting import Problem, only_says_the_name, problem_of, vet

LONGEST: Mapping[str, int] = {"sms": 1530, "push": 1000, "inbox": 4000, "email": 20_000}
"""Most characters in a body: ten parts of an SMS; what a push service accepts; what a person will read."""
LONGEST_SUBJECT = 200
LONGEST_HTML = 100_000
TITLED = frozenset({"email", "push", "inbox"})
BLANK = "\ue000\ue001"
"""Stands for a name that is still sealed, in characters that nobody types."""
SOMEBODY = "N. N."
"""The reader for whom a text is judged while the real name is still sealed."""


class RenderError(Exception):
    """A text that cannot be made; the delivery is set aside for a person."""

    word = "in_doubt"


class ContentError(RenderError):
    """A text that the content rules refuse."""

    word = "content_refused"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.kind}: {fault.reason}" for fault in faults)[:500])
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Source:
    """A template as written: body, subject if the channel has one, HTML if it is a mail with it."""

    body: str
    subject: str | None = None
    html: str | None = None

    @property
    def parts(self) -> dict[str, str]:
        """Return the parts it has, by name."""
        return {name: text for name in ("subject", "body", "html") if (text := getattr(self, name)) is not None}


def problems(source: Source, channel: str) -> list[Problem]:
    """Return everything a template must not contain."""
    found = [problem for part, text in source.parts.items() if (problem := problem_of(text, part)) is not None]
    if (source.subject is not None) != (channel in TITLED):
        found.append(Problem("subject", "email, push and inbox have a subject, sms has none"))
    if source.html is not None:
        if channel != "email":
            found.append(Problem("html", "only a mail has html"))
        if (refused := markup.refused(source.html)) is not None:
            found.append(Problem("html", *refused))
    return found


class Form(Value, frozen=True):
    """A text judged while its reader's name was sealed, with a blank in place of the name."""

    text: Rendered
    plain: Rendered | None
    """The same without its link, when the link might add parts to an SMS."""
    name: str | None
    """The name it was made with."""

    def written_for(self, name: str | None) -> tuple[Rendered, Rendered | None] | None:
        """Return both with the name in the blank; None when filling the blank does not give the text for this name."""
        if self.name == BLANK and name is not None:
            return _filled(self.text, name), _filled(self.plain, name) if self.plain is not None else None
        return (self.text, self.plain) if self.name == name else None


@dataclass(frozen=True, slots=True)
class Compiled:
    """One text, ready to be rendered any number of times."""

    ref: TextRef
    templates: Mapping[str, Template]
    only_says_the_name: bool
    """Whether the name can be filled in after everything else is rendered."""

    def render(self, draft: Draft, *, name: str | None) -> Rendered:
        """Return the text, without its link if that would add parts to an SMS; RenderError when it cannot be made."""
        return _shorter(*self._both(draft, in_one_line(name)))

    def checked(self, draft: Draft, *, named: bool) -> Form:
        """Return the text for somebody whose name, if any, is still sealed; ContentError when the rules refuse it."""
        name = (BLANK if self.only_says_the_name else SOMEBODY) if named else None
        form = Form(*self._both(draft, name), name)
        text = self._of(form, draft, SOMEBODY if named else None)
        if found := content_faults(as_read(text, self.ref, draft), draft.asks):
            raise ContentError(found)
        return form

    def finished(self, form: Form, draft: Draft, *, name: str | None) -> Rendered:
        """Return a checked text for a reader of this one-line name; RenderError if the name makes it too long."""
        text = self._of(form, draft, name)
        for part, longest in self._longest.items():
            if len(getattr(text, part) or "") > longest:
                raise RenderError(f"with its reader's name the text is longer than {longest} characters")
        return text

    def _of(self, form: Form, draft: Draft, name: str | None) -> Rendered:
        return _shorter(*(form.written_for(name) or self._both(draft, name)))

    @property
    def _longest(self) -> dict[str, int]:
        return {"subject": LONGEST_SUBJECT, "body": LONGEST[self.ref.channel], "html": LONGEST_HTML}

    def _both(self, draft: Draft, name: str | None) -> tuple[Rendered, Rendered | None]:
        """Return the text, and also without its link where the link must not cost a part."""
        sparing = draft.link is not None and self.ref.spares_parts
        return self._rendered(draft, name), self._rendered(replace(draft, link=None), name) if sparing else None

    def _rendered(self, draft: Draft, name: str | None) -> Rendered:
        values, longest = _values(draft, name), self._longest
        said = {part: _text(template, values, longest[part]) for part, template in self.templates.items()}
        subject = " ".join(said["subject"].split()) if "subject" in said else None
        return Rendered(subject, said["body"], said.get("html"))


def compiled(source: Source, ref: TextRef) -> Compiled:
    """Compile a text; RefusedError if it contains what is not allowed: only vetted source is compiled."""
    for text in source.parts.values():
        vet(text)
    templates = {part: _ENVIRONMENTS[part == "html"].from_string(text) for part, text in source.parts.items()}
    return Compiled(ref, templates, all(map(only_says_the_name, source.parts.values())))


def as_read(text: Rendered, ref: TextRef, draft: Draft) -> Read:
    """Return a text as the content rules read it."""
    previews = PREVIEWS.get(ref.channel, frozenset())
    said = {"subject": text.subject, "body": text.body, "html": markup.visible(text.html) if text.html is not None else None}
    parts = tuple(Part(name, part, name in previews) for name, part in said.items() if part is not None)
    return Read(parts, ref.locale.partition("-")[0], draft.lender.name, draft.amounts)


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox that skips the check, on each access to our own values, for lists or sets that could be modified."""

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        """Return whether a template may read this attribute: of a debt line or a split, any of its fields."""
        if type(obj) in _OURS:
            return attr in obj.__struct_fields__  # type: ignore[attr-defined]  # both are structs
        return super().is_safe_attribute(obj, attr, value)


_OURS = (DebtLine, Split)


def _environment(*, escaped: bool) -> _Environment:
    return _Environment(undefined=StrictUndefined, autoescape=escaped, trim_blocks=True, lstrip_blocks=True)


_ENVIRONMENTS = {False: _environment(escaped=False), True: _environment(escaped=True)}
_escaped = _ENVIRONMENTS[True].filters["escape"]


def _shorter(text: Rendered, plain: Rendered | None) -> Rendered:
    return text if plain is None or count_parts(text.body) <= count_parts(plain.body) else plain


def _filled(text: Rendered, name: str) -> Rendered:
    """Return a text with a name in its blanks."""
    return Rendered(
        text.subject.replace(BLANK, name) if text.subject is not None else None,
        text.body.replace(BLANK, name),
        text.html.replace(BLANK, str(_escaped(name))) if text.html is not None else None,
    )


def _values(draft: Draft, name: str | None) -> dict[str, Any]:
    return {
        "name": name, "lender": draft.lender.name, "contact": draft.lender.contact, "total": draft.total, "debts": draft.debts,
        "split": draft.split, "itemise": ContentKind.AMOUNT_SPLIT in draft.asks, "opt_out": ContentKind.OPT_OUT in draft.asks,
        "variables": draft.variables, "link": draft.link,
    }  # fmt: skip


def _text(template: Template, values: dict[str, Any], longest: int) -> str:
    """Return the rendered text, stopping once it is too long; a template sees only the values, none of Jinja's globals."""
    said: list[str] = []
    size = 0
    try:
        for piece in template.root_render_func(template.new_context(values, shared=True)):
            size += len(piece)
            if size > longest + LONGEST_SUBJECT:
                break
            said.append(piece)
    except Exception as error:
        raise RenderError(f"{type(error).__name__}: {error}"[:200]) from error
    text = "".join(said).strip()
    if size > longest or not text:
        raise RenderError(f"the text has {size} characters or more; 1 to {longest} are allowed")
    return text
