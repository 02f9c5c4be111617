"""Files that come with the product."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where the library was built with it, ten times faster; safe either way."""


def written_in(text: str) -> Any:
    """Return what a YAML text says; YAMLError when it is none."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506  # both loaders are safe ones
