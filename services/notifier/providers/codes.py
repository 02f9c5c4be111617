"""What a provider's codes mean: one table per kind, stored as data, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from libs.common.shipped import written_in
from services.notifier.domain.results import Fault, Refused, Unknown

FOLDER = Path(__file__).parent / "tables"
LONGEST_WAIT = timedelta(days=1)


class Meaning(StrEnum):
    """What a code says about the message, and whose fault it is."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"
    THROTTLED_ACCOUNT = "throttled_account"
    THROTTLED_RECIPIENT = "throttled_recipient"
    THROTTLED_CONTENT = "throttled_content"
    OPTED_OUT = "opted_out"
    INVALID_ADDRESS = "invalid_address"
    CONFIG = "config"
    COMPLAINED = "complained"


FAULTS: Mapping[Meaning, Fault] = MappingProxyType(
    {
        Meaning.PERMANENT: "content",
        Meaning.TRANSIENT: "provider",
        Meaning.UNKNOWN: "provider",
        Meaning.THROTTLED_ACCOUNT: "throttled",
        Meaning.THROTTLED_RECIPIENT: "throttled_recipient",
        Meaning.THROTTLED_CONTENT: "throttled_content",
        Meaning.OPTED_OUT: "opted_out",
        Meaning.INVALID_ADDRESS: "invalid_address",
        Meaning.CONFIG: "config",
        Meaning.COMPLAINED: "complained",
    }
)
_FOR_GOOD = frozenset({Meaning.PERMANENT, Meaning.OPTED_OUT, Meaning.INVALID_ADDRESS})


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes of one kind of provider, in its answers and in its receipts."""

    api: Mapping[str, Meaning]
    receipt: Mapping[str, Meaning]

    @classmethod
    def load(cls, kind: str) -> Codes:
        """Read the table of a kind; a word that is not a meaning is refused."""
        table = written_in((FOLDER / f"{kind}.yaml").read_text("utf-8"))
        return cls(*({str(code): Meaning(word) for code, word in (table[part] or {}).items()} for part in ("api", "receipt")))

    def result(self, status: int, *codes: str | None, retry_after: str | None = None) -> Refused | Unknown:
        """Return what a non-accepting answer means: by the first code that is listed, else by its status."""
        said = next((code for code in codes if code), None)
        code = next((code for code in codes if code and code in self.api), None)
        meaning = self.api[code] if code else self._by_status(status)
        shown = code or said or f"http_{status}"
        if meaning is Meaning.UNKNOWN:
            return Unknown(shown)
        return Refused(shown, FAULTS[meaning], meaning in _FOR_GOOD, _wait(retry_after))

    def fault(self, *codes: str | None) -> Fault:
        """Return whose fault a failure in a receipt is; the provider's if no code is listed."""
        return FAULTS[next((self.receipt[code] for code in codes if code and code in self.receipt), Meaning.TRANSIENT)]

    def _by_status(self, status: int) -> Meaning:
        listed = self.api.get(f"http {status}") or self.api.get(f"http {status // 100}xx")
        if listed:
            return listed
        if status == 429:
            return Meaning.THROTTLED_ACCOUNT
        return Meaning.TRANSIENT if 400 <= status < 500 and status not in (408, 409) else Meaning.UNKNOWN


def _wait(retry_after: str | None) -> timedelta | None:
    """Return a `Retry-After` given in seconds."""
    if retry_after is None or not retry_after.strip().isdecimal():
        return None
    return min(timedelta(seconds=min(int(retry_after), 10**6)), LONGEST_WAIT)
