"""Mutual TLS of Envoy: its own certificate, and whom it recognizes at the other end of a connection.

Certificate and authorities are secrets of SDS that name files, of which Envoy reads all again when one is moved into
their folder: open connections stay, and new ones have the new certificate. No key is in a rendered file.
"""

from typing import Any

from graphmesh_contracts.workloads import spiffe_id

from graphmesh_mesh.envoy.documents import Document, config_source, extension, seconds, typed
from graphmesh_mesh.mutual_tls import MutualTls
from graphmesh_mesh.topology import Mesh

SDS_CERTIFICATE, SDS_AUTHORITIES = "sds-certificate.yaml", "sds-authorities.yaml"
"""Envoy requires a file for each secret."""
CERTIFICATE, AUTHORITIES = "certificate", "authorities"
TRANSPORT = "envoy.extensions.transport_sockets.tls.v3"
INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"


def secrets(tls: MutualTls) -> dict[str, Document]:
    """Return the files of SDS."""
    watched = {"watched_directory": {"path": str(tls.folder)}}
    own = {"filename": str(tls.certificate())}
    pair = {"certificate_chain": own, "private_key": own, **watched}
    trusted = {"trusted_ca": {"filename": str(tls.authorities)}, **watched}
    return {
        SDS_CERTIFICATE: _secret(CERTIFICATE, tls_certificate=pair),
        SDS_AUTHORITIES: _secret(AUTHORITIES, validation_context=trusted),
    }


def _secret(name: str, **content: Document) -> Document:
    return {"resources": [typed(f"{TRANSPORT}.Secret", name=name, **content)]}


def to_service(mesh: Mesh, name: str) -> Document:
    """Encrypt the connections of a cluster, and verify that the server is the service, where it has mutual TLS."""
    if mesh.mesh.tls is None or not mesh.services[name].has_mutual_tls:
        return {}
    identity = {"exact": spiffe_id(mesh.mesh.tls.trust_domain, name)}
    return _socket("UpstreamTlsContext", identity, max_session_keys=0)


def from_workloads(tls: MutualTls, silent_seconds: float | None) -> Document:
    """Require a certificate of the trust domain in a filter chain. A client that does not begin is disconnected."""
    resumption = {"disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True}
    identity = {"prefix": spiffe_id(tls.trust_domain, "")}
    socket = _socket("DownstreamTlsContext", identity, require_client_certificate=True, **resumption)
    return {**socket, **({"transport_socket_connect_timeout": seconds(silent_seconds)} if silent_seconds else {})}


def inspector() -> Document:
    """The filter of a listener that waits for the first bytes of a handshake."""
    return extension("envoy.filters.listener.tls_inspector", INSPECTOR)


def _socket(context: str, identity: Document, **options: Any) -> Document:
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["h2"],
        "tls_certificate_sds_secret_configs": [_source(CERTIFICATE, SDS_CERTIFICATE)],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": identity}]},
            "validation_context_sds_secret_config": _source(AUTHORITIES, SDS_AUTHORITIES),
        },
    }
    configured = extension(
        "envoy.transport_sockets.tls", f"{TRANSPORT}.{context}", common_tls_context=common, **options
    )
    return {"transport_socket": configured}


def _source(secret: str, file: str) -> Document:
    return {"name": secret, "sds_config": config_source(file)}
