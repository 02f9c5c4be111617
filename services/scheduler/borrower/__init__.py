"""The borrower's page, behind a link."""
