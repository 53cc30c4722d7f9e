"""Invoices, charges and refunds, on a double-entry ledger."""
