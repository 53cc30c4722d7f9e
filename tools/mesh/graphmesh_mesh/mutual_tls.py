"""The section `mesh.tls` of mesh.yaml: mutual TLS inside of the mesh."""

from pathlib import Path
from typing import Annotated

from graphmesh_contracts.workloads import ENVOY
from pydantic import BaseModel, ConfigDict, Field

from graphmesh_mesh.errors import MeshError

AUTHORITIES = "authorities.pem"
"""The file with the certificates of the authorities."""
TrustDomain = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$")]


def certificate_file(workload: str) -> str:
    """Return the name of the file with a workload's certificate and its private key."""
    return f"{workload}.pem"


class MutualTls(BaseModel):
    """How workloads recognize each other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trust_domain: TrustDomain = "graphmesh.local"
    """The first part of their identities: `spiffe://TRUST_DOMAIN/billing`."""
    certificates: Path | None = None
    """The folder with their certificates, on each machine; by default `graphmesh up` makes them in its state folder."""

    @property
    def folder(self) -> Path:
        """The folder with the certificates. Raises MeshError where it is not known."""
        if self.certificates is None:
            raise MeshError("mesh.tls.certificates: is required, the folder with Envoy's certificate")
        return self.certificates

    @property
    def authorities(self) -> Path:
        return self.folder / AUTHORITIES

    def certificate(self, workload: str = ENVOY) -> Path:
        return self.folder / certificate_file(workload)
