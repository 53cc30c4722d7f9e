"""Errors of the model service."""

from graphmesh_chassis.errors import DependencyError
from grpc import StatusCode


class OutputInvalid(DependencyError):
    """The answer of {model} does not fit the schema of the {schema}

    ABORTED, not UNAVAILABLE: the model is reachable, so this must not open its circuit breaker.
    """

    code = StatusCode.ABORTED
    reason = "OUTPUT_INVALID"
