"""The errors that only this service has."""

from graphmesh_chassis.errors import DependencyError
from grpc import StatusCode


class OutputInvalid(DependencyError):
    """The answer of {model} does not fit the schema of the {schema}

    ABORTED, not UNAVAILABLE: the model is there, so that this must not open its breaker.
    """

    code = StatusCode.ABORTED
    reason = "OUTPUT_INVALID"
