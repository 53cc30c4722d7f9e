"""Mutual TLS: the certificate of a server or a client, and whose calls it accepts."""

from pathlib import Path
from typing import Any, NamedTuple

import grpc
from graphmesh_contracts.workloads import ENVOY, PROBER, spiffe_id

from graphmesh_chassis.certificates import Certificate, authorities, certificate
from graphmesh_chassis.errors import WorkloadNotAllowed
from graphmesh_chassis.reread_file import RereadFile

HEALTH = "/grpc.health.v1.Health/"
PEER = "peer_spiffe_id"
"""The property of a connection with the SPIFFE ID of its verified certificate; absent where that has none."""


class Credentials(NamedTuple):
    """The content of both files."""

    own: Certificate
    authorities: bytes


class Workload:
    """The certificate of a program, and the authorities that it trusts. Both files are read again when they change.

    Raises:
        OSError: a file cannot be read.
        ValueError: its content is refused.
    """

    def __init__(self, certificate_file: Path, authorities_file: Path) -> None:
        self._own = RereadFile(certificate_file, certificate)
        self._authorities = RereadFile(authorities_file, authorities)
        self._served = self.credentials()

    def credentials(self) -> Credentials:
        """Return the present credentials; they are checked for changes once a second."""
        return Credentials(self._own.content(), self._authorities.content())

    def server(self) -> grpc.ServerCredentials:
        """Return the credentials of a server, which requires certificates of its clients.

        Files are checked for changes at each handshake. Open connections stay.
        """
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._served), self._changed, require_client_authentication=True
        )

    def _changed(self) -> Any:
        """Return the configuration of a handshake; None: that of the one before."""
        present = Credentials(self._own.latest(), self._authorities.latest())
        if all(new is old for new, old in zip(present, self._served, strict=True)):
            return None
        self._served = present
        return _configuration(present)

    def require_caller(self, path: str, context: Any) -> None:
        """Check the certificate of a call's connection.

        Raises:
            WorkloadNotAllowed: it is neither Envoy's, nor with a health check the prober's.
        """
        stated = context.auth_context().get(PEER) or [b""]
        peer, domain = stated[0].decode("utf-8", "replace"), self._served.own.trust_domain
        if peer != spiffe_id(domain, ENVOY) and not (path.startswith(HEALTH) and peer == spiffe_id(domain, PROBER)):
            raise WorkloadNotAllowed(workload=peer)


def _configuration(present: Credentials) -> Any:
    pairs = [(present.own.key, present.own.chain)]
    return grpc.ssl_server_certificate_configuration(pairs, root_certificates=present.authorities)


def client_credentials(present: Credentials) -> grpc.ChannelCredentials:
    """Return the credentials of a client. They are those of one time: another certificate needs another channel."""
    return grpc.ssl_channel_credentials(present.authorities, present.own.key, present.own.chain)
