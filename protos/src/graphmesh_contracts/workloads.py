"""The workloads of a mesh: programs with a certificate, and the SPIFFE IDs that these state."""

ENVOY = "envoy"
"""Envoy, the only workload whose calls services accept."""
PROBER = "prober"
"""What checks the health of services: `graphmesh up`, Kubernetes."""
COMMANDS = "commands"
"""The commands of `graphmesh` that call services."""
WORKLOADS = (ENVOY, PROBER, COMMANDS)
"""The workloads beside the services, which have the names that mesh.yaml gives them."""


def spiffe_id(trust_domain: str, workload: str) -> str:
    """Return the identity of a workload: the URI in its certificate."""
    return f"spiffe://{trust_domain}/{workload}"
