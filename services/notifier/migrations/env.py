"""Alembic environment of the schema `notifier`."""

from alembic import context

from libs.common.db.migrate import run_environment
from services.notifier import personal_tables  # noqa: F401  # adds its tables to the same metadata
from services.notifier.tables import SCHEMA, metadata

run_environment(context, metadata, SCHEMA)
