"""The contract of books.proto, compiled at import: its messages, and the package that a mesh.yaml names."""

import subprocess
import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from graphmesh.policy.v1 import policy_pb2
from graphmesh_mesh.envoy.descriptors import with_imports

PACKAGE = "graphmesh.books.v1"
SERVICE = f"{PACKAGE}.BookService"
UNARY = ("GetBook", "PutBook", "DiscardBook")


def _compiled() -> descriptor_pb2.FileDescriptorProto:
    known = descriptor_pb2.FileDescriptorSet()
    imports = {f.name: f for root in (policy_pb2, annotations_pb2) for f in with_imports(root.DESCRIPTOR)}
    for file in imports.values():
        file.CopyToProto(known.file.add())
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "known").write_bytes(known.SerializeToString())
        folder, out = Path(__file__).parent, Path(scratch) / "out"
        paths = [f"--descriptor_set_in={scratch}/known", f"-I{folder}", f"--descriptor_set_out={out}"]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *paths, "books.proto"], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]


def _loaded() -> FileDescriptor:
    descriptor_pool.Default().Add(_compiled())
    spec = spec_from_file_location(PACKAGE, Path(__file__).with_name("__init__.py"))  # a package without comments
    assert spec
    sys.modules[PACKAGE] = module_from_spec(spec)
    return descriptor_pool.Default().FindFileByName("books.proto")


FILE = _loaded() if PACKAGE not in sys.modules else descriptor_pool.Default().FindFileByName("books.proto")


def type_of(message: str) -> Any:
    return message_factory.GetMessageClass(FILE.message_types_by_name[message])


def message(name: str, **fields: Any) -> Any:
    return type_of(name)(**fields)


def path(method: str) -> str:
    return f"/{SERVICE}/{method}"
