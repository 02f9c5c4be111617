"""Mail by SMTP: to a relay of the tenant's, over kept connections."""
