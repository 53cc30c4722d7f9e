"""Faults that tests inject into nodes. Graphs and tests import this module, so they share its values."""

HANG_AFTER_CHARGE: set[str] = set()
"""The invoices after whose charge the node never returns. Each is removed when it hangs."""
CHANGED_AMOUNTS: dict[str, int] = {}
"""The amount of charges by invoice, instead of the state's."""
