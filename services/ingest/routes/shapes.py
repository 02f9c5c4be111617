"""The responses of ingest, for its OpenAPI; fields may be added, but never removed."""

from __future__ import annotations

from libs.common.contracts.catalogue import FACTS, PROFILES
from libs.common.describing import Shapes
from libs.common.feed.shapes import feed_shapes
from libs.common.tenant_settings.forms import ServiceSettings
from libs.common.tenant_settings.shapes import settings_shapes
from services.ingest.routes.loan_shapes import LOANS
from services.ingest.routes.paper_shapes import PAPER

SHAPES: Shapes = {**LOANS, **PAPER, **settings_shapes(ServiceSettings), **feed_shapes(FACTS, PROFILES)}
