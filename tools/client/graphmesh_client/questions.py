"""What a parked run asks."""

from collections.abc import Mapping
from typing import Any

from graphmesh.orchestrator.v1 import Interrupt
from graphmesh_contracts import value_of

ENVELOPE = "graphmesh.approval"
"""What a remote node asks that needs consent is under this key: `tool`, `arguments`, `question` and more."""


def asked(interrupt: Interrupt) -> Any:
    """What is asked. With an approval it is what the approval is for, and `approval_id`."""
    value = value_of(interrupt.value)
    if not interrupt.approval_id:
        return value
    wanted = value.get(ENVELOPE) if isinstance(value, Mapping) else None
    about = wanted if isinstance(wanted, Mapping) else {"question": value}
    return {"approval_id": interrupt.approval_id, **about}
