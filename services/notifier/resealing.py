"""Reseals personal data as a profile comes in: the exchanges of keys happen once for a profile, and none for a contact."""

from __future__ import annotations

from libs.common import sealing
from libs.common.contracts.borrower_profiles import BorrowerProfile
from libs.common.sealing import Holder, Ring, SealError
from libs.common.value import replace


def resealed(ring: Ring, tenant: str, profile: BorrowerProfile) -> BorrowerProfile:
    """Return a profile resealed: its key under the ring's own key, name and addresses under it; what cannot be opened is unchanged."""
    context = f"{tenant}/{profile.borrower_id}"
    try:
        private = ring.unseal(sealing.from_text(profile.key), f"{context}/key")
        holder = Holder(private)
    except (SealError, ValueError):
        return profile
    return replace(
        profile,
        key=sealing.as_text(ring.keep(private, f"{context}/key")),
        sealed_name=_reseal(holder, profile.sealed_name, f"{context}/name") if profile.sealed_name else profile.sealed_name,
        addresses=tuple(replace(one, sealed=_reseal(holder, one.sealed, f"{context}/address")) for one in profile.addresses),
    )


def _reseal(holder: Holder, sealed: str, context: str) -> str:
    try:
        return sealing.as_text(holder.keep(holder.unseal(sealing.from_text(sealed), context), context))
    except (SealError, ValueError):
        return sealed
