"""A service's messages, delivered to URLs that its tenants name."""
