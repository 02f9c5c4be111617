"""What a service says, kept for a week for those without Kafka."""
