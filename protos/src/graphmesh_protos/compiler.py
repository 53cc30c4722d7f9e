"""Runs protoc over the protos of a folder. No network: what they import comes from installed packages."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.message import DecodeError

VALIDATE = "buf/validate/validate.proto"
INSTALLED = ("buf", "google")
"""Folders of protos that come from installed packages; copies of them in a repository are not compiled."""


LOG_LINE = re.compile(r"WARNING: All log messages|[IW]\d{4} \d")
"""The beginning of a line in the log of protoc, which is no finding."""


class ProtoError(ValueError):
    """The protos cannot be compiled or break a rule. The message has a line for each finding, with file and line."""


def proto_files(protos: Path) -> list[str]:
    """Return the protos of a folder, relative to it. Copies of those of graphmesh are not among them.

    Raises:
        ProtoError: there are none.
    """
    found = sorted(path.relative_to(protos) for path in protos.rglob("*.proto") if path.is_file())
    own = [path for path in found if path.parts[0] not in INSTALLED and not path.parts[0].startswith(".")]
    others = [path for path in own if path.parts[0] != "graphmesh"]
    if not own:
        raise ProtoError(f"{protos} has no protos")
    return [path.as_posix() for path in others or own]


def compile_image(protos: Path) -> descriptor_pb2.FileDescriptorSet:
    """Compile all protos of a folder, and return their descriptors with imports and comments.

    Raises:
        ProtoError: the protos do not compile.
    """
    with tempfile.NamedTemporaryFile(suffix=".binpb") as target:
        outputs = ("--include_imports", "--include_source_info", f"--descriptor_set_out={target.name}")
        protoc(protos, proto_files(protos), *outputs)
        return descriptor_pb2.FileDescriptorSet.FromString(Path(target.name).read_bytes())


def descriptor_set(path: Path) -> descriptor_pb2.FileDescriptorSet:
    """Read a file of a serialized FileDescriptorSet. Raises ProtoError where it is none."""
    try:
        return descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ProtoError(f"{path} is not a descriptor set: {error}") from error


def protoc(protos: Path, names: Sequence[str], *outputs: str) -> None:
    """Run protoc over the files `names`, relative to `protos`.

    Raises:
        ProtoError: with protoc's own lines, each with file and line.
    """
    if missing := [name for name in ("grpc_tools", "mypy_protobuf", "protovalidate") if find_spec(name) is None]:
        raise ProtoError(f"{missing[0]} is not installed: install graphmesh-cli[protos], or graphmesh-protos[generate]")
    with tempfile.NamedTemporaryFile(suffix=".binpb") as known:
        known.write(_validate_proto())
        known.flush()
        installed = (_shipped_protos(), _google_protos())
        is_graphmesh = names[0].startswith(
            "graphmesh/"
        )  # a clone of it, whose protos are newer than the installed ones
        includes = dict.fromkeys((protos, *installed) if is_graphmesh else (*installed, protos))
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={known.name}"]
        command += [*(f"-I{include}" for include in includes), *outputs, *names]
        environment = {"PATH": str(Path(sys.executable).parent)}
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if ended.returncode:
        raise ProtoError(with_folder(protos, ended.stderr, names) or f"protoc failed with {ended.returncode}")


def with_folder(protos: Path, findings: str, names: Sequence[str]) -> str:
    """Return the findings of a compiler with paths that an editor opens: those of `names`, below their folder."""
    lines = [line for line in findings.strip().splitlines() if not LOG_LINE.match(line)]
    return "\n".join(f"{protos / line}" if line.partition(":")[0] in names else line for line in lines)


def _validate_proto() -> bytes:
    """The serialized descriptor set of validate.proto and its imports."""
    from protovalidate._gen.buf.validate import validate_pb

    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString()


def _shipped_protos() -> Path:
    """The folder that has `graphmesh/common/v1`: beside this package where it is installed, above it in its sources."""
    package = Path(__file__).parent
    return next(folder for folder in package.parents if (folder / "graphmesh/common/v1/money.proto").is_file())


def _google_protos() -> Path:
    """The folder that has `google/api`."""
    found = find_spec("google.api")
    if found is None or not found.submodule_search_locations:
        raise ProtoError("googleapis-common-protos is not installed")
    return Path(found.submodule_search_locations[0]).parents[1]
