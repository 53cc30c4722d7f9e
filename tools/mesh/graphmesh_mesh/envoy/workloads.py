"""Authorization inside of the mesh: Envoy's RBAC holds the RPCs that each workload may call against its certificate."""

from collections.abc import Collection, Iterator

from graphmesh_contracts.workloads import COMMANDS, spiffe_id

from graphmesh_mesh.envoy.documents import ECDS_WORKLOADS, Document, discovered, discovery_file, typed
from graphmesh_mesh.mutual_tls import MutualTls
from graphmesh_mesh.roles import ALL
from graphmesh_mesh.topology import RUN_SERVICE, Mesh, tool_prefix

WORKLOADS = "graphmesh.workloads"
"""The name of the filter. It is discovered, so that an edit of the roles applies to open connections too."""
RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"


def known_workloads() -> Document:
    """The filter that denies the calls which a workload may not make."""
    return discovered(WORKLOADS, RBAC, ECDS_WORKLOADS)


def workload_files(mesh: Mesh, tls: MutualTls) -> dict[str, Document]:
    """Return the file with the filter's configuration: a policy for each workload that may call anything."""
    callers = {COMMANDS: frozenset({ALL}), **mesh.calls}
    policies = {
        name: {"permissions": permissions, "principals": [_certificate_of(tls, name)]}
        for name, tools in sorted(callers.items())
        if (permissions := list(_permissions(mesh, tools)))
    }
    rules = {"action": "ALLOW", "policies": policies}
    return {ECDS_WORKLOADS: discovery_file(WORKLOADS, typed(RBAC, rules=rules))}


def _certificate_of(tls: MutualTls, workload: str) -> Document:
    return {"authenticated": {"principal_name": {"exact": spiffe_id(tls.trust_domain, workload)}}}


def _permissions(mesh: Mesh, tools: Collection[str]) -> Iterator[Document]:
    """Yield the paths of tools: `billing.Refund`, all of a service, `billing`, or `*`: all but the run API.

    Orchestrators act on the headers that Envoy makes of tokens at the edge. At the mesh listener they are what the
    workload states, so it calls them only where it is named.
    """
    descriptors = {one: service.service for service in mesh.services.values() for one in service.descriptors}
    if ALL in tools:
        descriptors = {one: service for one, service in descriptors.items() if service == RUN_SERVICE}
        named = {"or_rules": {"rules": [_path(prefix=f"/{one.full_name}/") for one in descriptors]}}
        yield {"not_rule": named} if descriptors else {"any": True}
    for descriptor in descriptors:
        prefix, path = tool_prefix(descriptor.full_name), f"/{descriptor.full_name}/"
        if prefix in tools:
            yield _path(prefix=path)
        else:
            called = [method.name for method in descriptor.methods if f"{prefix}.{method.name}" in tools]
            yield from (_path(exact=f"{path}{name}") for name in called)


def _path(**matcher: str) -> Document:
    return {"url_path": {"path": matcher}}
