"""Generate code and data from the protos: messages, stubs, RPC handles, comments, and the image for buf.

    python protos/generate.py            writes protos/gen
    python protos/generate.py --image F  writes only the descriptor image, to F

No network: `validate.proto` comes from the descriptor inside protovalidate, `google/api` and `google/rpc` from
googleapis-common-protos.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.message import Message
from protovalidate._gen.buf.validate import validate_pb

PROTOS = Path(__file__).parent
GEN = PROTOS / "gen"
VALIDATE = "buf/validate/validate.proto"


def dependencies() -> bytes:
    """The serialized descriptor set of validate.proto and its imports."""
    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString()


def protoc(protos: Path, names: list[str], *outputs: str) -> None:
    """Run protoc over the files `names`, relative to `protos`."""
    google = find_spec("google.api").submodule_search_locations[0]  # type: ignore[union-attr, index]
    with tempfile.NamedTemporaryFile(suffix=".binpb") as known:
        known.write(dependencies())
        known.flush()
        subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc"),
                *(f"--descriptor_set_in={known.name}", f"-I{protos}", f"-I{Path(google).parent.parent}"),
                *outputs,
                *names,
            ],
            check=True,
            env={"PATH": str(Path(sys.executable).parent)},
        )


def proto_files(protos: Path) -> list[str]:
    return sorted(str(path.relative_to(protos)) for path in (protos / "graphmesh").rglob("*.proto"))


def image(protos: Path, target: Path) -> descriptor_pb2.FileDescriptorSet:
    """Write the image of all protos, with imports and comments, to `target`, and return it."""
    protoc(
        protos,
        proto_files(protos),
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={target}",
    )
    return descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())


def public_names(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    extensions = [extension.name for extension in file.extension]
    return sorted([*(m.name for m in file.message_type), *(e.name for e in file.enum_type), *extensions])


def is_streaming(method: descriptor_pb2.MethodDescriptorProto) -> bool:
    return method.client_streaming or method.server_streaming


def check_effects(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> None:
    """Refuse effects that stream: a repeat returns the one response that was stored under the effect's key.

    Raises:
        SystemExit: a streaming method has the idempotency level IDEMPOTENT. The message names it.
    """
    for file in files:
        for service in file.service:
            for method in service.method:
                if is_streaming(method) and method.options.idempotency_level == descriptor_pb2.MethodOptions.IDEMPOTENT:
                    name = f"{file.package}.{service.name}.{method.name}"
                    sys.exit(f"{file.name}: {name} is an effect and streams: it needs one request and one response")


def handles(service: descriptor_pb2.ServiceDescriptorProto, package: str) -> str:
    """The source of the class that holds a handle for each method of a service."""
    full_name = f"{package}.{service.name}"
    lines = [f"class {service.name}:", f'    """The RPCs of `{full_name}`."""', "", f'    NAME: Final = "{full_name}"']
    for method in service.method:
        request, response = (name.rsplit(".", 1)[1] for name in (method.input_type, method.output_type))
        kind = "StreamingRpc" if is_streaming(method) else "Rpc"
        lines += [
            f"    {method.name}: Final = {kind}(",
            f'        "/{package}.{service.name}/{method.name}", {request}, {response}',
            "    )",
        ]
    return "\n".join(lines)


def package_module(package: str, files: list[descriptor_pb2.FileDescriptorProto]) -> str:
    """The source of a proto package's `__init__.py`: its messages, servicers and RPC handles."""
    imports, services = [], []
    for file in files:
        module = Path(file.name).stem
        imports += [f"from .{module}_pb2 import {name} as {name}" for name in public_names(file)]
        for service in file.service:
            for name in (f"{service.name}Servicer", f"add_{service.name}Servicer_to_server"):
                imports.append(f"from .{module}_pb2_grpc import {name} as {name}")
            services.append(handles(service, package))
    kinds = ", ".join(kind for kind in ("Rpc", "StreamingRpc") if any(f"= {kind}(" in service for service in services))
    typing = ["from typing import Final", "", f"from graphmesh_contracts import {kinds}", ""] if services else []
    body = "".join(f"\n\n{service}\n" for service in services)
    docstring = f'"""Contracts of `{package}`. Generated by protos/generate.py."""'
    return "\n".join([docstring, "", *typing, *imports]) + "\n" + body


NAMED = {
    "FileDescriptorProto": ("message_type", "enum_type", "service"),
    "DescriptorProto": ("field", "oneof_decl", "nested_type", "enum_type"),
    "EnumDescriptorProto": ("value",),
    "ServiceDescriptorProto": ("method",),
}
"""The fields of each kind of descriptor whose elements have names and comments."""


def paths(element: Message, path: tuple[int, ...], name: str) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the source path and the full name of each named element inside `element`."""
    for field in NAMED.get(element.DESCRIPTOR.name, ()):
        number = element.DESCRIPTOR.fields_by_name[field].number
        for place, child in enumerate(getattr(element, field)):
            inside = (*path, number, place), f"{name}.{child.name}"
            yield inside
            yield from paths(child, *inside)


def comments(files: list[descriptor_pb2.FileDescriptorProto]) -> dict[str, str]:
    """The comments of one package by full name. Generated descriptors have none, and tool schemas need them."""
    found = {}
    for file in files:
        written = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for path, name in paths(file, (), file.package):
            if text := written.get(path, "").strip():
                found[name] = "\n".join(line.strip() for line in text.splitlines())
    return found


def replace(protos: Path, gen: Path) -> None:
    """Generate into `gen` and replace its contents. A proto that does not compile leaves them unchanged."""
    gen.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=gen.parent, prefix=".gen-") as work:
        made, before = Path(work, "made"), Path(work, "before")
        made.mkdir()
        generate(protos, made)
        if gen.exists():
            gen.rename(before)
        made.rename(gen)


def generate(protos: Path, gen: Path) -> None:
    """Generate everything into an empty folder."""
    with tempfile.NamedTemporaryFile(suffix=".binpb") as target:
        files = image(protos, Path(target.name)).file
    check_effects(files)
    protoc(protos, [*proto_files(protos), VALIDATE], f"--python_out={gen}", f"--mypy_out=quiet:{gen}")
    packages: dict[str, list[descriptor_pb2.FileDescriptorProto]] = {}
    for file in files:
        if file.package.startswith("graphmesh."):
            packages.setdefault(file.package, []).append(file)
    with_services = [f.name for f in files if f.package in packages and f.service]
    protoc(protos, with_services, f"--grpc_python_out={gen}", f"--mypy_grpc_out=quiet:{gen}")
    for package, members in packages.items():
        folder = gen / package.replace(".", "/")
        (folder / "__init__.py").write_text(package_module(package, members))
        (folder / "comments.json").write_text(json.dumps(comments(members), indent=1) + "\n")
        (folder / "py.typed").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, metavar="F")
    parser.add_argument("--protos", type=Path, default=PROTOS, help="the folder that holds graphmesh/")
    parser.add_argument("--out", type=Path, default=GEN, help="the folder to replace")
    arguments = parser.parse_args()
    if arguments.image:
        image(arguments.protos, arguments.image)
    else:
        replace(arguments.protos, arguments.out)


if __name__ == "__main__":
    main()
