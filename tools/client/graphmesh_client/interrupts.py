"""Interrupts of parked runs, as clients show them."""

from collections.abc import Mapping
from typing import Any

from graphmesh.orchestrator.v1 import Interrupt
from graphmesh_contracts import APPROVAL_KEY, value_of


def interrupt_value(interrupt: Interrupt) -> Any:
    """Return the value of an interrupt.

    For an approval request that is a mapping with `approval_id` and the terms of the approval: `tool`, `arguments`,
    `question` and others.
    """
    value = value_of(interrupt.value)
    if not interrupt.approval_id:
        return value
    terms = value.get(APPROVAL_KEY) if isinstance(value, Mapping) else None
    return {"approval_id": interrupt.approval_id, **(terms if isinstance(terms, Mapping) else {"question": value})}
