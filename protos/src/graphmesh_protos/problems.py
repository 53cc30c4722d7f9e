"""Why no Python package can be made of a proto: names that Python or the package itself has, and streaming effects."""

import keyword
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, MethodOptions

from graphmesh_protos.python_package import folder_of, is_streaming, line_numbers

MODULE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
OWN_NAMES = frozenset({"Final", "Rpc", "StreamingRpc"})
"""The names that a generated package imports for itself."""
NAME = "NAME"
"""The attribute of a class of handles with the service's full name."""


def problems(file: FileDescriptorProto) -> list[str]:
    """Return each problem of a file, after its line."""
    return list(_of_file(file)) or [f"{_line(file, name)}: {problem}" for name, problem in _of_elements(file)]


def _of_file(file: FileDescriptorProto) -> Iterator[str]:
    if not MODULE_NAME.fullmatch(PurePosixPath(file.name).stem):
        yield "1: the name of a file has letters, digits and underscores: its module is named after it"
    if not file.package:
        yield "1: it declares no package"
    elif folder_of(file) != file.package.replace(".", "/"):
        yield f"1: the package {file.package} must be in {file.package.replace('.', '/')}"
    elif reserved := next(filter(keyword.iskeyword, file.package.split(".")), ""):
        yield f"1: the package {file.package} cannot be imported: {reserved} is a keyword of Python"


def _of_elements(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Yield problems with the full names of the elements that have them."""
    messages, enums = (one.name for one in file.message_type), (one.name for one in file.enum_type)
    services, extensions = (one.name for one in file.service), (one.name for one in file.extension)
    for short in (*messages, *enums, *services, *extensions):
        if short in OWN_NAMES:
            yield f"{file.package}.{short}", f"{short} is a name of the generated package"
        elif keyword.iskeyword(short):
            yield f"{file.package}.{short}", f"{short} is a keyword of Python"
    yield from _of_nested(file.message_type, file.package)
    for service in file.service:
        for method in service.method:
            name = f"{file.package}.{service.name}.{method.name}"
            if keyword.iskeyword(method.name):
                yield name, f"{name}: {method.name} is a keyword of Python"
            elif method.name == NAME:
                yield name, f"{name}: {NAME} is the name of the service in the generated package"
            if is_streaming(method) and method.options.idempotency_level == MethodOptions.IDEMPOTENT:
                # a repeat of an effect returns the one response that was stored under its key
                yield name, f"{name} is an effect and streams: it needs one request and one response"


def _of_nested(messages: Sequence[DescriptorProto], prefix: str) -> Iterator[tuple[str, str]]:
    for message in messages:
        for inner in (*(one.name for one in message.nested_type), *(one.name for one in message.enum_type)):
            if keyword.iskeyword(inner):
                yield f"{prefix}.{message.name}.{inner}", f"{inner} is a keyword of Python"
        yield from _of_nested(message.nested_type, f"{prefix}.{message.name}")


def _line(file: FileDescriptorProto, name: str) -> int:
    return line_numbers(file).get(name, 1)
