"""The descriptor set that Envoy transcodes JSON with."""

from collections.abc import Iterator

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2, status_pb2

from graphmesh_mesh.topology import Mesh

DESCRIPTORS = "descriptors.binpb"
"""The name of the file beside lds.yaml."""


def descriptor_set(mesh: Mesh) -> bytes:
    """Serialize the files of the edge's services and of error details, with all imports."""
    roots = [each.file for name in mesh.edge.services for each in mesh.services[name].descriptors]
    found: dict[str, FileDescriptor] = {}
    for root in [*roots, status_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR]:
        found |= {file.name: file for file in with_imports(root)}
    files = descriptor_pb2.FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(files.file.add())
    return files.SerializeToString(deterministic=True)


def with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    """Yield a file after all that it imports: the order that descriptor sets require."""
    for imported in file.dependencies:
        yield from with_imports(imported)
    yield file
