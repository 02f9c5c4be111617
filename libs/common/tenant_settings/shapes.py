"""What calls about settings answer, for OpenAPI; the settings themselves have the same form as in `PUT`."""

from __future__ import annotations

from datetime import datetime

import msgspec

from libs.common.describing import Shapes
from libs.common.tenant_settings.forms import ServiceSettings
from libs.common.webhooks.store import WebhookHealth


def settings_shapes(form: type[ServiceSettings]) -> Shapes:
    """Return the shapes of a service whose settings have this form."""
    version = [("version", int), ("by", str | None), ("at", datetime | None), ("settings", form)]
    kept = msgspec.defstruct("SettingsVersion", version, namespace={"__doc__": "A version of the settings; secrets are never shown."})
    in_force = msgspec.defstruct(
        "SettingsInForce",
        [*version, ("webhooks", list[WebhookHealth])],
        namespace={"__doc__": "The settings in force (version 0: nothing set yet) and the health of the webhooks."},
    )
    return {"getSettings": in_force, "getSettingsHistory": list[kept], "putSettings": kept}  # type: ignore[valid-type]  # made just above
