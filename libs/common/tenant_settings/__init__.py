"""What a tenant sets of a service: one JSON, versions and all."""
