"""Shared by the tests and the graphs, which an orchestrator imports from their file, as modules of its own."""

HANGS: set[str] = set()
"""The invoices after whose charge the node never returns; each once."""
CHANGED: dict[str, int] = {}
"""The amounts that requests have from now on, whatever they had when an approval was asked for; by invoice."""
