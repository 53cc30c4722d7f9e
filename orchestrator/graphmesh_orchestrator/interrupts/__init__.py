"""Interrupts of runs, and the approvals among them."""
