"""Tokens at the edge: verified by Envoy, and turned into the identity headers of a call."""

import json
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2
from graphmesh_contracts.workloads import ENVOY

from graphmesh_mesh.egress import Egress
from graphmesh_mesh.envoy.documents import (
    ECDS,
    ECDS_ROLES,
    HEALTH_CHECK,
    Document,
    discovered,
    discovery_file,
    extension,
    socket,
    typed,
)
from graphmesh_mesh.envoy.egress import resolved_and_checked
from graphmesh_mesh.envoy.lua import LUA_FILTER, constants
from graphmesh_mesh.envoy.scopes import CODE, DENIED, POLICY_KEY, RBAC, REASON, RESULT_KEY, missing_scopes
from graphmesh_mesh.identity import ALGORITHMS, Identity, Issuer
from graphmesh_mesh.tls import Tls, is_ip_address
from graphmesh_mesh.topology import Mesh

TOKENS = "graphmesh.tokens"
"""The name of the filter that verifies tokens."""
IDENTITY = "graphmesh.identity"
"""The name of the filter that makes headers of their claims. Both are discovered, so that new keys and roles replace no
listener: connections that stay open would else be served with the old ones."""
JWT_AUTHN = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
SCRIPT = Path(__file__).with_name("identity.lua")
CLOCK_SKEW_SECONDS = 5
CACHED_TOKENS = 1000
"""Tokens of each issuer with a file of keys, whose signatures are verified once."""
JWKS_SECONDS = 300
NO_ISSUER = Identity.model_construct(issuers=())
OUR_HEADERS: Document = {"remove_on_match": {"key_matcher": {"prefix": "x-graphmesh-"}}}
"""Removal of every header of ours, of those to come too."""


def identified_callers(mesh: Mesh) -> list[Document]:
    """The filters whose configurations are `discovered_filters`, in their order."""
    verified = [discovered(TOKENS, JWT_AUTHN, ECDS)] if mesh.identity else []
    return [*verified, discovered(IDENTITY, LUA_FILTER, ECDS_ROLES)]


def discovered_filters(mesh: Mesh) -> dict[str, Document]:
    """Return the files with the filters that change apart from the listener, of an edge that requires tokens.

    An edge without an issuer refuses every call but health checks.
    """
    verified = {ECDS: discovery_file(TOKENS, token_configuration(mesh.identity))} if mesh.identity else {}
    return {**verified, ECDS_ROLES: discovery_file(IDENTITY, callers(mesh, mesh.identity or NO_ISSUER))}


def token_configuration(identity: Identity) -> Document:
    """Every path but that of a health check needs a token of one of the issuers."""
    names = [provider(number) for number in range(len(identity.issuers))]
    needed = [{"provider_name": name} for name in names]
    requires = needed[0] if len(needed) == 1 else {"requires_any": {"requirements": needed}}
    return typed(
        JWT_AUTHN,
        providers={name: _provider(name, issuer) for name, issuer in zip(names, identity.issuers, strict=True)},
        rules=[{"match": {"path": HEALTH_CHECK}}, {"match": {"prefix": "/"}, "requires": requires}],
    )


def provider(number: int) -> str:
    """The name of an issuer's provider, of the metadata with its claims, and of the cluster with its keys."""
    return f"issuer-{number}"


def _provider(name: str, issuer: Issuer) -> Document:
    if issuer.jwks_url:
        uri = {"uri": issuer.jwks_url, "cluster": name, "timeout": "5s"}
        keys: Document = {
            "remote_jwks": {
                "http_uri": uri,
                "cache_duration": f"{JWKS_SECONDS}s",
                "async_fetch": {"fast_listener": True},
            }
        }
    else:
        cache = {"jwt_cache_size": CACHED_TOKENS}
        keys = {"local_jwks": {"inline_string": issuer.jwks}, "jwt_cache_config": cache}
    return {
        "issuer": issuer.issuer,
        "audiences": list(issuer.audiences),
        **keys,
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "forward": False,
        "require_expiration": True,
        "clock_skew_seconds": CLOCK_SKEW_SECONDS,
        "payload_in_metadata": name,
        "header_in_metadata": f"{name}-header",
    }


def callers(mesh: Mesh, identity: Identity) -> Document:
    """Set the headers of the caller from the claims of a verified token, and the details of refusals."""
    roles = mesh.roles.scopes_of(mesh.contracts) if mesh.roles else {}
    tables = {
        "CLAIMS": {provider(number): one.claims.model_dump() for number, one in enumerate(identity.issuers)},
        "ROLES": {role: sorted(scopes) for role, scopes in roles.items()},
        "ALGORITHMS": dict.fromkeys(ALGORITHMS.values(), True),
        "REVOKED": identity.revoked.table(),
        "REFUSALS": dict(_refusals(identity)),
        "HEALTH_CHECK": HEALTH_CHECK,
        "ADVICE": f": {identity.advice}" if identity.advice else "",
        "ERROR_INFO": error_info(code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED"),
        "DENIALS": {scopes: denial(scopes) for scopes in missing_scopes(mesh)},
        "RBAC": {"filter": RBAC, "policy": POLICY_KEY, "result": RESULT_KEY, "denied": DENIED},
    }
    source = {"inline_string": f"{constants(tables)}\n{SCRIPT.read_text()}"}
    return typed(LUA_FILTER, default_source_code=source)


def denial(scopes: str) -> dict[str, str | bytes]:
    """Return the error of a call that lacks scopes, as the service itself would answer it."""
    message, status = f"The caller lacks the scopes {scopes}", error_info(CODE, REASON, scopes=scopes)
    info = json_format.MessageToDict(status_pb2.Status.FromString(status))["details"]
    return {
        "message": message,
        "status": status,
        "json": json.dumps({"code": CODE, "message": message, "details": info}),
    }


def jwks_clusters(identity: Identity, egress: Egress | None) -> list[Document]:
    """The clusters that Envoy reads keys from, at the addresses that the mesh may call."""
    return [
        _cluster(provider(n), one, one.jwks_target, egress) for n, one in enumerate(identity.issuers) if one.jwks_target
    ]


def _cluster(name: str, issuer: Issuer, target: tuple[str, int], egress: Egress | None) -> Document:
    (host, port), secure = target, issuer.jwks_url.startswith("https:")
    endpoint = {"endpoint": {"address": socket(host, port)}}
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        connect_timeout="5s",
        load_assignment={"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **(_tls(host, issuer) if secure else {}),
        **_resolution(host, egress),
    )


def _resolution(host: str, egress: Egress | None) -> Document:
    if is_ip_address(host):
        return {"type": "STATIC"}
    return resolved_and_checked(egress, ENVOY) if egress else {"type": "STRICT_DNS"}


def _tls(host: str, issuer: Issuer) -> Document:
    kind, sni = ("IP_ADDRESS", {}) if is_ip_address(host) else ("DNS", {"sni": host})
    trust = {
        "trusted_ca": {"filename": str(Tls(ca=issuer.ca).trusted)},
        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
    }
    context = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    secured = extension("envoy.transport_sockets.tls", context, common_tls_context={"validation_context": trust}, **sni)
    return {"transport_socket": secured}


def error_info(code: int, reason: str, **data: str) -> bytes:
    """Return a google.rpc.Status without its message, serialized: the code is its first two bytes."""
    status = status_pb2.Status(code=code)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="graphmesh", metadata=data))
    return bytes(status.SerializeToString(deterministic=True))


def _refusals(identity: Identity) -> Iterator[tuple[str, str]]:
    """Yield the messages to callers that no verified token names, by what is missing."""
    yield "issuer", "the mesh has no issuer of tokens: identity.issuers of mesh.yaml names them"
    yield "algorithm", "the token must be signed with RS256, ES256 or EdDSA"
    yield "revoked", "the token is revoked"
    for number, issuer in enumerate(identity.issuers):
        tenant, subject = issuer.claims.tenant, issuer.claims.subject
        rule = "1 to 63 lower-case letters, digits, - and _"
        yield f"{provider(number)}-tenant", f"the token needs a claim {tenant} of {rule}"
        rule = "1 to 255 printable characters of ASCII, without spaces"
        yield f"{provider(number)}-subject", f"the token needs a claim {subject} of {rule}"
