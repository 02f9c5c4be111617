"""Alembic environment of the schema `scheduler`."""

from alembic import context

from libs.common.db.migrate import run_environment
from services.scheduler import agreement_tables, experiment_tables, link_tables, simulation_tables
from services.scheduler.tables import SCHEMA

PLACES = (
    agreement_tables.holds,
    experiment_tables.experiments,
    link_tables.borrower_links,
    link_tables.link_tries,
    link_tables.page_answers,
    simulation_tables.simulations,
)
"""One table of every module that declares any: importing the module registers its tables."""
run_environment(context, PLACES[0].metadata, SCHEMA)
