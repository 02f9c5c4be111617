"""Addresses in comparable form: a phone is the same phone whichever channel reaches it and however its number is written."""

from __future__ import annotations

import re

from libs.common import sealing

PHONE = ("sms", "call", "ai_voice", "voicemail")
PLACE = ("letter", "visit")
_SEPARATORS = re.compile(r"[\s().\-/]+")


def kind_of(channel: str) -> str:
    """Return the kind of address a channel uses: a phone, a place, or one that only this channel has."""
    if channel in PHONE:
        return "phone"
    return "place" if channel in PLACE else channel


def compared(channel: str, address: str) -> str:
    """Return an address in its canonical form for comparison."""
    plain = address.strip()
    match kind_of(channel):
        case "phone":
            digits = _SEPARATORS.sub("", plain).removeprefix("00")
            return f"+{digits}" if digits.isdecimal() else digits
        case "email":
            return plain.lower()
        case "place":
            return " ".join(plain.casefold().split())
        case _:
            return plain


def lookup_of(key: bytes, tenant: str, channel: str, address: str) -> str:
    """Return the keyed hash by which an address is found without opening it."""
    return sealing.as_text(sealing.digest(key, tenant, kind_of(channel), compared(channel, address)))
