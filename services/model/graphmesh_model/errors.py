"""Errors of the model service."""

from graphmesh_chassis.errors import Aborted, DependencyError


class OutputInvalid(Aborted, DependencyError):
    """The answer of {model} does not fit the schema of the {schema}

    ABORTED, not UNAVAILABLE: the model is reachable, so this must not open its circuit breaker.
    """

    reason = "OUTPUT_INVALID"
