"""PostgreSQL: connections, migrations, positions and lineage."""
