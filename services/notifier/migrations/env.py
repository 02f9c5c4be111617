"""Alembic environment of the schema `notifier`."""

from alembic import context

from libs.common.db.migrate import run_environment
from services.notifier.tables import SCHEMA, metadata

run_environment(context, metadata, SCHEMA)
