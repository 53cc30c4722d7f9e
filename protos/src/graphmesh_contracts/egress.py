"""Refusals of calls out of the mesh: what Envoy answers, and the clients of workloads read."""

REFUSAL_HEADER = "x-graphmesh-egress"
"""The header of a refusal: `host` or `address`, the part that is refused."""
NOT_LISTED, PRIVATE = 403, 421
"""The HTTP statuses of refusals by the host and by the address: all that a client sees of the answer to CONNECT."""
