"""The base of every value of the ledger: immutable, compared by its parts, and cheap to create by the hundred thousand.

The one file of the domain that knows msgspec: a frozen dataclass costs twelve times as much to create (ADR 0009).
"""

from msgspec import Struct
from msgspec import field as field  # noqa: PLC0414  # re-exported for the domain
from msgspec.structs import replace as replace  # noqa: PLC0414  # re-exported for the domain


class Draft(Struct, gc=False):
    """A value under construction; it never leaves the rule that builds it."""


class Value(Struct, frozen=True, array_like=True, gc=False):
    """A value; stored by position, and without cycles, so the garbage collector need not track it."""
