"""One mesh for each module, in which each test is a tenant of its own."""

from tests.integration.orchestrator.conftest import mesh, shared_mesh

__all__ = ["mesh", "shared_mesh"]
