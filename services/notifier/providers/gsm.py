"""Whether a text fits the alphabet of GSM 03.38, so that it costs no second encoding."""

from __future__ import annotations

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED = frozenset("\f^{}\\[~]|€")
_ALL = BASIC | EXTENDED


def is_gsm(text: str) -> bool:
    """Return whether every character is of the basic alphabet or its extension."""
    return _ALL.issuperset(text)
