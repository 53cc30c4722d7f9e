"""Budgets of tenants: what all runs of a tenant may use in a day."""
