"""What an SMSC says unasked: delivery receipts, whose format no specification fixes (appendix B of 3.4 is an example), and replies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.providers.codes import Codes
from services.notifier.providers.links import Written
from services.notifier.providers.smpp import alphabet
from services.notifier.providers.smpp.pdu import Sms

CODES = Codes.load("smpp")
RECEIPTED_MESSAGE_ID, MESSAGE_STATE, MESSAGE_PAYLOAD = 0x001E, 0x0427, 0x0424
HAS_HEADER = 0x40
_KIND = 0x3C
_RECEIPTS = (0x04, 0x20)
"""`esm_class` of a delivery receipt and of an intermediate notification."""
_STATES: Mapping[int, str] = MappingProxyType(
    {1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD"}
)
STANDINGS: Mapping[str, Standing] = MappingProxyType(
    {
        "ENROUTE": Standing.SENT,
        "ACCEPTD": Standing.SENT,
        "DELIVRD": Standing.DELIVERED,
        "EXPIRED": Standing.FAILED,
        "DELETED": Standing.FAILED,
        "UNDELIV": Standing.FAILED,
        "REJECTD": Standing.FAILED,
    }
)
"""`UNKNOWN` is missing because it says nothing."""
_FIELD = re.compile(r"\b(id|stat|err):([^\s]*)", re.IGNORECASE)
BASES: Mapping[str, int] = MappingProxyType({"hex": 16, "decimal": 10})


def reference(message_id: str, base: str | None = None) -> str:
    """Return a message's name in comparable form: SMSCs answer in hexadecimal and report in decimal, or differ in zeros or case."""
    plain = message_id.strip().lower()
    if base is not None:
        try:
            return str(int(plain, BASES[base]))
        except ValueError:
            pass
    return plain.lstrip("0") or plain[-1:]


def ended(spelled: str, state: int, error: int, base: str | None = None) -> Receipt | None:
    """Return the receipt equivalent to the answer to a query; None for a message that has not ended."""
    word = _STATES.get(state, "")
    standing = STANDINGS.get(word)
    if standing is None or standing is Standing.SENT:
        return None
    failed = standing is Standing.FAILED
    return Receipt(
        standing, provider_ref=reference(spelled, base), code=(f"{word} {error:03}" if error else word) if failed else None,
        fault=CODES.fault(word) if failed else "none",
    )  # fmt: skip


def heard(sms: Sms, base: str | None = None) -> Receipt | Written | None:
    """Return the receipt or reply that an SMSC delivers; None for a receipt that says nothing."""
    message = sms.message or sms.options.get(MESSAGE_PAYLOAD, b"")
    if sms.esm_class & _KIND not in _RECEIPTS:
        said = alphabet.read(message, sms.data_coding, has_header=bool(sms.esm_class & HAS_HEADER))
        return Written(sms.source.value, sms.destination.value, said)
    fields = {name.lower(): value for name, value in _FIELD.findall(message.decode("latin-1"))}
    state = sms.options.get(MESSAGE_STATE)
    word = _STATES.get(state[0], "") if state else fields.get("stat", "").upper()
    named = sms.options.get(RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0").decode("latin-1") or fields.get("id", "")
    standing = STANDINGS.get(word)
    if standing is None or not named:
        return None
    failed = standing is Standing.FAILED
    error = fields.get("err", "").strip("0")
    return Receipt(
        standing, provider_ref=reference(named, base), address=sms.source.value,
        code=(f"{word} {fields['err']}" if error else word) if failed else None, fault=CODES.fault(word) if failed else "none",
    )  # fmt: skip
