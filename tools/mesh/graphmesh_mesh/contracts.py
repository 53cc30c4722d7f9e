"""The descriptor sets of a mesh as files, from which graphs take the contracts that are not installed."""

from graphmesh_contracts import breaking_changes
from graphmesh_contracts.descriptor_sets import SUFFIX

from graphmesh_mesh.topology import Mesh


def contract_files(mesh: Mesh) -> dict[str, bytes]:
    """Return the descriptor set of each RPC service that has one, by the name of its file."""
    return {
        f"{descriptor.full_name}{SUFFIX}": service.contract.content
        for service in mesh.services.values()
        if service.contract
        for descriptor in service.descriptors
    }


def broken_contracts(before: Mesh, after: Mesh) -> list[str]:
    """Return a sentence for each change that breaks callers of a service that both meshes have."""
    changed = {
        descriptor.full_name: descriptor
        for service in after.services.values()
        if service.descriptor_set
        for descriptor in service.descriptors
    }
    return [
        change
        for service in before.services.values()
        for descriptor in service.descriptors
        if descriptor.full_name in changed
        for change in breaking_changes(descriptor, changed[descriptor.full_name])
    ]
