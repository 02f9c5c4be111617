"""Self-contained pages: a template and its style, no script, nothing from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template


@dataclass(frozen=True, slots=True)
class Page:
    """A compiled page, and headers that allow the browser its own style and nothing else."""

    template: Template
    headers: Mapping[str, str]

    @classmethod
    @cache
    def load(cls, package: str, html: str, css: str, *, posts: bool = False) -> Page:
        """Compile the shipped templates of a package, once per process; `posts` allows its forms to be sent to their own origin."""

        def source(name: str) -> str:
            return (files(package) / name).read_text(encoding="utf-8")

        environment = Environment(
            autoescape=True, loader=FunctionLoader(source), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        allowed = b64encode(sha256(environment.get_template(css).render().encode()).digest()).decode()
        action = "'self'" if posts else "'none'"
        policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action {action}; frame-ancestors 'none'"
        headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        return cls(environment.get_template(html), headers)
