"""The HTTP side of ingest."""

from services.ingest.routes.events import route_of as event_route
from services.ingest.routes.loans import routes_of as loan_routes
from services.ingest.routes.parked import routes_of as parked_routes
from services.ingest.routes.products import routes_of as product_routes
from services.ingest.routes.report import routes_of as report_routes
from services.ingest.routes.sources import routes_of as source_routes
from services.ingest.routes.statement import routes_of as statement_routes

__all__ = ["event_route", "loan_routes", "parked_routes", "product_routes", "report_routes", "source_routes", "statement_routes"]
