"""Alembic environment of the schema `scheduler`."""

from alembic import context

from libs.common.db.migrate import run_environment
from services.scheduler import agreement_tables, simulation_tables
from services.scheduler.tables import SCHEMA

assert agreement_tables.holds.metadata is simulation_tables.simulations.metadata, "all tables are in one"
run_environment(context, agreement_tables.holds.metadata, SCHEMA)
