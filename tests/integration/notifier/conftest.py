"""What these tests share."""

from __future__ import annotations

from tests.support.exim_fixture import exim

__all__ = ["exim"]
