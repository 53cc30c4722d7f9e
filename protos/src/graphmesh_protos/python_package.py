"""The source of a proto package's `__init__.py`, and its comments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)
from google.protobuf.message import Message

GENERATED = "Generated from protos; do not edit."


@dataclass(frozen=True)
class TypeName:
    """A message as Python imports it."""

    package: str
    module: str
    """The module of its file: `acme.orders.v1.orders_pb2`."""
    name: str
    """Its name in the module: `Order`, or `Order.Line` for a nested one."""


def type_names(files: Sequence[FileDescriptorProto]) -> Mapping[str, TypeName]:
    """Return all messages of the files by their names in protos, such as `.acme.orders.v1.Order.Line`."""

    def inside(file: FileDescriptorProto, messages: Sequence[DescriptorProto], prefix: str) -> Iterator[str]:
        for message in messages:
            yield f"{prefix}{message.name}"
            yield from inside(file, message.nested_type, f"{prefix}{message.name}.")

    return {
        f".{file.package}.{name}" if file.package else f".{name}": TypeName(file.package, module_of(file), name)
        for file in files
        for name in inside(file, file.message_type, "")
    }


def module_of(file: FileDescriptorProto) -> str:
    return f"{file.name.removesuffix('.proto').replace('-', '_').replace('/', '.')}_pb2"


def package_module(package: str, files: Sequence[FileDescriptorProto], types: Mapping[str, TypeName]) -> str:
    """Return the source of a package's `__init__.py`: its messages, servicers and RPC handles."""
    imports, services, modules = [], [], set[str]()
    for file in files:
        module = module_of(file).rpartition(".")[2]
        imports += [f"from .{module} import {name} as {name}" for name in _public_names(file)]
        for service in file.service:
            for name in (f"{service.name}Servicer", f"add_{service.name}Servicer_to_server"):
                imports.append(f"from .{module}_grpc import {name} as {name}")
            services.append(_handles(service, package, types, modules))
    kinds = ", ".join(kind for kind in ("Rpc", "StreamingRpc") if any(f"= {kind}(" in service for service in services))
    typing = ["from typing import Final", "", f"from graphmesh_contracts import {kinds}", ""] if services else []
    body = "".join(f"\n\n{service}\n" for service in services)
    others = [f"import {module} as {_alias(module)}" for module in sorted(modules)]
    docstring = f'"""Contracts of `{package}`. {GENERATED}"""'
    return "\n".join([docstring, "", *typing, *others, *imports]) + "\n" + body


def is_streaming(method: MethodDescriptorProto) -> bool:
    return method.client_streaming or method.server_streaming


def _public_names(file: FileDescriptorProto) -> list[str]:
    extensions = [extension.name for extension in file.extension]
    return sorted([*(m.name for m in file.message_type), *(e.name for e in file.enum_type), *extensions])


def _handles(service: ServiceDescriptorProto, package: str, types: Mapping[str, TypeName], modules: set[str]) -> str:
    """Return the source of the class that has a handle for each method of a service.

    A message of another package, or with the name of a method, is written with its module, which is added to `modules`.
    """
    hidden = {method.name for method in service.method}

    def expression(type_name: str) -> str:
        found = types[type_name]
        if found.package == package and found.name.partition(".")[0] not in hidden:
            return found.name
        modules.add(found.module)
        return f"{_alias(found.module)}.{found.name}"

    full_name = f"{package}.{service.name}"
    lines = [f"class {service.name}:", f'    """The RPCs of `{full_name}`."""', "", f'    NAME: Final = "{full_name}"']
    for method in service.method:
        kind = "StreamingRpc" if is_streaming(method) else "Rpc"
        messages = f"{expression(method.input_type)}, {expression(method.output_type)}"
        path = f"/{package}.{service.name}/{method.name}"
        lines += [f"    {method.name}: Final = {kind}(", f'        "{path}", {messages}', "    )"]
    return "\n".join(lines)


def _alias(module: str) -> str:
    return f"_{module.replace('.', '_')}"


_NAMED = {
    "FileDescriptorProto": ("message_type", "enum_type", "service"),
    "DescriptorProto": ("field", "oneof_decl", "nested_type", "enum_type"),
    "EnumDescriptorProto": ("value",),
    "ServiceDescriptorProto": ("method",),
}
"""The fields of each kind of descriptor whose elements have names and comments."""


def named_elements(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the source path and the full name of each message, field, enum, service and method of a file."""
    yield from _inside(file, (), file.package)


def _inside(element: Message, path: tuple[int, ...], name: str) -> Iterator[tuple[tuple[int, ...], str]]:
    for field in _NAMED.get(element.DESCRIPTOR.name, ()):
        number = element.DESCRIPTOR.fields_by_name[field].number
        for place, child in enumerate(getattr(element, field)):
            inside = (*path, number, place), f"{name}.{child.name}"
            yield inside
            yield from _inside(child, *inside)


def comments(files: Sequence[FileDescriptorProto]) -> dict[str, str]:
    """Return the comments of one package by full name. Generated descriptors have none, and tool schemas need them.

    `graphmesh_contracts.comments` reads those of descriptor sets likewise. It cannot be imported here: it needs the
    generated packages that this makes.
    """
    found = {}
    for file in files:
        written = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for path, name in named_elements(file):
            if text := written.get(path, "").strip():
                found[name] = "\n".join(line.strip() for line in text.splitlines())
    return found


def line_numbers(file: FileDescriptorProto) -> dict[str, int]:
    """Return the line of each named element of a file by full name."""
    lines = {tuple(place.path): place.span[0] + 1 for place in file.source_code_info.location}
    return {name: lines[path] for path, name in named_elements(file) if path in lines}


def folder_of(file: FileDescriptorProto) -> str:
    return PurePosixPath(file.name).parent.as_posix()
