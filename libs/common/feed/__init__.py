"""A service's messages, kept for a week for readers without Kafka."""
