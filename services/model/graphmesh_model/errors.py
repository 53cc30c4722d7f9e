"""Errors of the model service."""

from typing import Any

from graphmesh_chassis.errors import Aborted, DependencyError

from graphmesh_model.domain import Usage
from graphmesh_model.faults import Fault


class OutputInvalid(Aborted, DependencyError):
    """The answer of {model} does not fit the schema of the {schema}

    ABORTED, not UNAVAILABLE: the model is reachable, so this must not open its circuit breaker.
    """

    reason = "OUTPUT_INVALID"

    def __init__(self, message: str = "", *, usage: Usage | None = None, text: str = "", **data: object) -> None:
        """`usage` is that of the answer, as its vendor states it, and `text` the answer; neither is sent to callers."""
        known: dict[str, Any] = {"fault": Fault.OUTPUT.value, **data}
        super().__init__(message, **known)
        self.usage, self.text = usage, text
