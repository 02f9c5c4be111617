"""What is personal in a profile, sealed anew as it comes in: a contact takes no exchange of keys, and a profile all of them once."""

from __future__ import annotations

from libs.common import sealing
from libs.common.contracts.borrower_profiles import BorrowerProfile
from libs.common.sealing import Holder, Ring, SealError
from libs.common.value import replace


def resealed(ring: Ring, tenant: str, profile: BorrowerProfile) -> BorrowerProfile:
    """Return a profile whose key the ring holds for itself, and whose name and addresses the key does; what cannot be opened stays."""
    context = f"{tenant}/{profile.borrower_id}"
    try:
        private = ring.unseal(sealing.from_text(profile.key), f"{context}/key")
        holder = Holder(private)
    except (SealError, ValueError):
        return profile
    return replace(
        profile,
        key=sealing.as_text(ring.keep(private, f"{context}/key")),
        sealed_name=_again(holder, profile.sealed_name, f"{context}/name") if profile.sealed_name else profile.sealed_name,
        addresses=tuple(replace(one, sealed=_again(holder, one.sealed, f"{context}/address")) for one in profile.addresses),
    )


def _again(holder: Holder, sealed: str, context: str) -> str:
    try:
        return sealing.as_text(holder.keep(holder.unseal(sealing.from_text(sealed), context), context))
    except (SealError, ValueError):
        return sealed
