"""A tenant's settings of a service: one JSON document, with all its versions."""
