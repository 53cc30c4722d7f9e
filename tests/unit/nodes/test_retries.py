"""Retries of the remote node: only errors that a service answered, and only where a repeat is safe."""

import pytest
from graphmesh_chassis import errors
from graphmesh_contracts import Idempotency
from graphmesh_nodes.retries import is_retryable


@pytest.mark.parametrize(
    ("error", "idempotency", "retried"),
    [
        (errors.ConcurrencyLimit(), Idempotency.EFFECT, True),
        (errors.IdempotencyKeyInUse(key="k"), Idempotency.EFFECT, True),
        (errors.DatabaseUnavailable(), Idempotency.EFFECT, True),
        (errors.ConnectionLost(flag="UC"), Idempotency.EFFECT, True),
        (errors.ConnectionLost(flag="UC"), Idempotency.READ, True),
        (errors.ConnectionLost(flag="UC"), Idempotency.UNKNOWN, False),
        (errors.ConcurrencyLimit(), Idempotency.UNKNOWN, True),
        (errors.CircuitOpen(flag="UH"), Idempotency.READ, False),
        (errors.Unreachable(flag="UF"), Idempotency.READ, False),
        (errors.ConcurrencyLimit(flag="UO"), Idempotency.READ, False),
        (errors.DeadlineExceeded(), Idempotency.READ, False),
        (errors.NotFound(resource="invoice", id="x"), Idempotency.READ, False),
        (errors.Internal(), Idempotency.READ, False),
    ],
)
def test_only_safe_calls_are_retried(error: errors.GraphmeshError, idempotency: Idempotency, retried: bool) -> None:
    """A call that may have happened is retried only with a key or without an effect; Envoy owns its own failures."""
    assert is_retryable(error, idempotency) is retried
