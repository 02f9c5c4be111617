"""Everything in schema `notifier` that is sealed with the notifier's own key."""

from __future__ import annotations

from libs.common.db.rewrapping import TEXT, Place

PLACES = (
    Place(
        "notifier.borrowers", {"tenant": "text", "borrower_id": "text"}, "key", lambda row: f"{row.tenant}/{row.borrower_id}/key", form=TEXT
    ),
    Place(
        "notifier.provider_accounts", {"tenant": "text", "name": "text"}, "sealed", lambda row: f"provider/{row.tenant}/{row.name}"
    ),
    Place(
        "notifier.callbacks", {"id": "bigint"}, "sealed", lambda row: f"callback/{row.tenant}/{row.provider}",
        beside=("tenant", "provider"),
    ),
    Place(
        "notifier.replies", {"tenant": "text", "provider": "text", "id": "bytea"}, "sealed",
        lambda row: f"reply/{row.tenant}/{row.provider}/{bytes(row.id).hex()}",
    ),
    Place("notifier.sandbox_messages", {"id": "text"}, "sealed", lambda row: f"sandbox/{row.tenant}/{row.id}", beside=("tenant",)),
)  # fmt: skip
"""Whoever adds another such column adds it here: a key is retired once nothing here is sealed with it."""
