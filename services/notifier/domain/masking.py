"""Personal data as shown to those who may not read it: enough to recognise, too little to use."""

from __future__ import annotations

import re

from libs.common.addresses import compared, kind_of

STARS = "****"
_CODE = re.compile(r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[0-9]{3}")
"""Country codes of the E.164 plan that have one or two digits; all others have three."""


def address(channel: str, plain: str) -> str:
    """Return an address in a form that cannot be used: `+86 138 **** 1234`, `l****@example.org`."""
    match kind_of(channel):
        case "phone":
            return _phone(compared(channel, plain))
        case "email" if "@" in plain:
            local, _, domain = plain.rpartition("@")
            return f"{local[:1]}{STARS}@{domain}"
        case _:
            return STARS


def name(plain: str) -> str:
    """Return a name as the first letters of its parts: `L. W.`."""
    return " ".join(f"{part[0]}." for part in plain.split())


def _phone(number: str) -> str:
    digits = number.removeprefix("+")
    code = _CODE.match(digits)
    if code is None or not number.startswith("+") or not digits.isdecimal() or len(digits) < 10:
        return STARS
    rest = digits[code.end() :]
    shown = [f"+{code[0]}", rest[:3] if len(rest) >= 10 else "", STARS, rest[-4:] if len(rest) >= 8 else ""]
    return " ".join(part for part in shown if part)
