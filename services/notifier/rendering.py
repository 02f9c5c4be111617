"""Texts out of templates: compiled once, in a sandbox that changes nothing, an unknown variable is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.notifier.domain.message import LANGUAGES, Draft

LONGEST_BODY = 4000
LONGEST_SUBJECT = 200
_SUFFIX = ".j2"


class RenderError(Exception):
    """A text that cannot be made; the delivery is set aside for a person."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text, and its subject where the channel has one."""

    subject: str | None
    body: str


@dataclass(frozen=True, slots=True)
class Templates:
    """The shipped templates by (language, name); a subject's name ends in `.subject`."""

    compiled: Mapping[tuple[str, str], Template]

    @classmethod
    def load(cls) -> Templates:
        """Compile all of them."""
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, trim_blocks=False)  # plain text
        folder = files(__package__) / "templates"
        return cls(
            {
                (language, file.name.removesuffix(_SUFFIX)): environment.from_string(file.read_text(encoding="utf-8"))
                for language in LANGUAGES
                for file in sorted((folder / language).iterdir(), key=lambda file: file.name)
                if file.name.endswith(_SUFFIX)
            }
        )

    def render(self, draft: Draft, *, name: str | None, channel: str) -> Rendered:
        """Return the text for a channel; RenderError when there is none."""
        subject = self._text(draft, f"{draft.template}.subject", name, LONGEST_SUBJECT) if channel in {"email", "push", "inbox"} else None
        return Rendered(subject, self._text(draft, draft.template, name, LONGEST_BODY))

    def _text(self, draft: Draft, template: str, name: str | None, longest: int) -> str:
        found = self.compiled.get((draft.language, template))
        if found is None:
            raise RenderError(f"there is no template {template[:64]!r} in {draft.language}")
        try:
            text = found.render(name=name, debts=draft.debts, total=draft.total).strip()
        except TemplateError as error:
            raise RenderError(str(error)[:200]) from error
        if not text or len(text) > longest:
            raise RenderError(f"the text has {len(text)} characters; 1 to {longest} are allowed")
        return text
