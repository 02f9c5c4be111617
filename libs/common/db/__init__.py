"""PostgreSQL: connections, migrations, positions, lineage."""
