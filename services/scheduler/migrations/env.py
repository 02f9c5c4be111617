"""Alembic environment of the schema `scheduler`."""

from alembic import context

from libs.common.db.migrate import run_environment
from services.scheduler.agreement_tables import holds
from services.scheduler.tables import SCHEMA

run_environment(context, holds.metadata, SCHEMA)
