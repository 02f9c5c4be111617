"""What a service says, brought to the URLs that its tenants name."""
