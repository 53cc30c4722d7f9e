"""The contract of a service that others run, compiled as their repository does it: nothing of it is installed here."""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from graphmesh.policy.v1 import policy_pb2
from graphmesh_mesh.envoy.descriptors import with_imports

FOLDER = Path(__file__).parent
PROTO = "acme/shipping/v1/shipping.proto"
NAME = "acme.shipping.v1.ShippingService"


@cache
def contract() -> bytes:
    """Return the serialized descriptor set of the contract."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "shipping.binpb")
        protoc(Path(scratch), "--include_imports", "--include_source_info", f"--descriptor_set_out={out}")
        return out.read_bytes()


def contract_files() -> FileDescriptorSet:
    """Return a new copy of the contract, to be changed."""
    return FileDescriptorSet.FromString(contract())


def generate_code(out: Path) -> None:
    """Write the Python modules of the contract, which only the service itself has."""
    protoc(out, f"--python_out={out}", f"--grpc_python_out={out}")


def protoc(scratch: Path, *options: str, folder: Path = FOLDER, proto: str = PROTO) -> None:
    known = FileDescriptorSet()
    files = {file.name: file for root in (policy_pb2, timestamp_pb2) for file in with_imports(root.DESCRIPTOR)}
    for file in files.values():
        file.CopyToProto(known.file.add())
    (scratch / "known.binpb").write_bytes(known.SerializeToString())
    paths = [f"--descriptor_set_in={scratch}/known.binpb", f"-I{folder}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *paths, *options, proto], check=True)
