"""The base of values made by the ten thousand: immutable, compared by their parts, and cheap.

A frozen dataclass costs twelve times as much to make (decision 0009). A value holds no cycles, so the collector need not track it.
"""

from msgspec import Struct
from msgspec import field as field  # noqa: PLC0414  # the rules find it here
from msgspec.structs import asdict as asdict  # noqa: PLC0414  # and this
from msgspec.structs import astuple as astuple  # noqa: PLC0414  # and this
from msgspec.structs import replace as replace  # noqa: PLC0414  # the rules find it here


class Value(Struct, frozen=True, gc=False):
    """A value."""
