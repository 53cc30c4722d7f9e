"""Customers and their records, guarded updates with history."""
