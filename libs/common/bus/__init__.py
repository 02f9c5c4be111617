"""The bus: ports, the consumer and two adapters."""
