"""Authorization at the edge: Envoy's RBAC holds the scopes of each RPC against those of the caller's roles."""

import re
from collections.abc import Iterator
from itertools import combinations

from google.rpc import code_pb2

from graphmesh_mesh.envoy.documents import Document, extension
from graphmesh_mesh.topology import Mesh

RBAC = "envoy.filters.http.rbac"
"""The name of the filter, and of the metadata in which it states why it has denied a call."""
POLICY_KEY, RESULT_KEY, DENIED = "enforced_effective_policy_id", "enforced_engine_result", "denied"
SCOPES_HEADER = "x-graphmesh-scopes"
CODE, REASON = code_pb2.PERMISSION_DENIED, "SCOPE_MISSING"

Scopes = tuple[str, ...]


def required_scopes(mesh: Mesh) -> Document:
    """The filter that denies calls without the scopes of their method. It is behind the transcoder, so that the paths
    are those of gRPC for all protocols.

    Each policy is named after the scopes that are missing. At most one of them applies to a call.
    """
    policies = {
        " ".join(missing): {"permissions": permissions, "principals": [{"any": True}]}
        for missing, permissions in _denials(mesh).items()
    }
    rules = {"action": "DENY", "policies": policies}
    return extension(RBAC, "envoy.extensions.filters.http.rbac.v3.RBAC", rules=rules)


def missing_scopes(mesh: Mesh) -> Iterator[str]:
    """Yield the name of each policy: the scopes that a call may lack."""
    yield from (" ".join(missing) for missing in _denials(mesh))


def _denials(mesh: Mesh) -> dict[Scopes, list[Document]]:
    """Return the calls that lack scopes, by these."""
    denials = dict[Scopes, list[Document]]()
    for required, paths in sorted(_paths(mesh).items()):
        for count in range(1, len(required) + 1):
            for missing in combinations(required, count):
                lacks = [{"not_rule": _has(scope)} if scope in missing else _has(scope) for scope in required]
                any_path = {"or_rules": {"rules": [{"url_path": {"path": {"exact": path}}} for path in paths]}}
                denials.setdefault(missing, []).append({"and_rules": {"rules": [any_path, *lacks]}})
    return denials


def _paths(mesh: Mesh) -> dict[Scopes, list[str]]:
    """Return the paths of the methods that clients may call, by the scopes that they require."""
    paths = dict[Scopes, list[str]]()
    for name in mesh.edge.services:
        for method, policy in mesh.services[name].method_policies.items():
            path = f"/{method.containing_service.full_name}/{method.name}"
            paths.setdefault(tuple(sorted(policy.scopes)), []).append(path)
    return paths


def _has(scope: str) -> Document:
    among = {"safe_regex": {"regex": f"(.* )?{re.escape(scope)}( .*)?"}}
    return {"header": {"name": SCOPES_HEADER, "string_match": among, "treat_missing_header_as_empty": True}}
