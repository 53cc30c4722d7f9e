"""The operations agent: changes records for staff, after a confirmation."""
