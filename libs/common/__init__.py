"""What all services share: contracts, bus, database, HTTP, lifecycle."""
