"""Mail by SMTP: to a tenant's own relay, over persistent connections."""
