"""Alembic environment of the schema `ingest`."""

from alembic import context

from libs.common.db.migrate import run_environment
from services.ingest.tables import SCHEMA, metadata

run_environment(context, metadata, SCHEMA)
