"""The comments of the protos, which generated descriptors do not hold, and the reasons that they list."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from graphmesh_contracts.rpc import Method

REASON_PACKAGE = "graphmesh.common.v1"
REASON_ENUM = f"{REASON_PACKAGE}.ErrorReason"

NAMED = {
    "FileDescriptorProto": ("message_type", "enum_type", "service"),
    "DescriptorProto": ("field", "oneof_decl", "nested_type", "enum_type"),
    "EnumDescriptorProto": ("value",),
    "ServiceDescriptorProto": ("method",),
}
"""The fields of each kind of descriptor whose elements have names and comments."""

_of_pools: dict[DescriptorPool, Mapping[str, str]] = {}
"""The comments of the descriptor sets that this process calls services by."""

_CAUSES = re.compile(r" ?\([^()]*\)")
_OWN = re.compile(r"Reasons: (none of its own|[A-Z_]+(?:, [A-Z_]+)*)\.")
_SHARED = re.compile(r"Reasons of ([A-Za-z ]+): ([A-Z_]+(?:, [A-Z_]+)*)\.")


@cache
def comments(package: str) -> Mapping[str, str]:
    """The comments of a proto package by full name; empty for a package that was generated without them."""
    try:
        text = (files(package) / "comments.json").read_text()
    except (ModuleNotFoundError, FileNotFoundError):
        return {}
    loaded: Mapping[str, str] = json.loads(text)
    return loaded


def comments_of(file: FileDescriptor) -> Mapping[str, str]:
    """The comments of the package of `file`, which is installed or of a descriptor set; by full name."""
    return _of_pools.get(file.pool) or comments(file.package)


def keep_comments(pool: DescriptorPool, protos: Iterable[FileDescriptorProto]) -> None:
    """Keep the comments of a descriptor set, for `comments_of` the files of its pool."""
    _of_pools[pool] = written_comments(protos)


def written_comments(protos: Iterable[FileDescriptorProto]) -> dict[str, str]:
    """The comments in files that were compiled with source info, by full name."""
    found = {}
    for file in protos:
        written = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for path, name in _paths(file, (), file.package):
            if text := written.get(path, "").strip():
                found[name] = "\n".join(line.strip() for line in text.splitlines())
    return found


def _paths(element: Message, path: tuple[int, ...], name: str) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the source path and the full name of each named element inside `element`."""
    for field in NAMED.get(element.DESCRIPTOR.name, ()):
        number = element.DESCRIPTOR.fields_by_name[field].number
        for place, child in enumerate(getattr(element, field)):
            inside = (*path, number, place), f"{name}.{child.name}"
            yield inside
            yield from _paths(child, *inside)


def reasons(rpc: Method[Any, Any]) -> frozenset[str]:
    """The reasons of `graphmesh.common.v1.ErrorReason` that the comment of an RPC lists as its own.

    The list is the last paragraph of the comment: `Reasons: A, B (a cause), C.`, or `Reasons: none of its own.`

    Raises:
        ValueError: the comment has no such list, or one that names a reason twice.
    """
    last = comments(rpc.descriptor.containing_service.file.package).get(rpc.full_name, "").rpartition("\n\n")[2]
    if not (found := _OWN.fullmatch(_without_causes(last))):
        raise ValueError(f"the comment of {rpc.full_name} does not end with a list of reasons")
    listed = [] if found[1].startswith("none") else found[1].split(", ")
    if len(listed) != len(set(listed)):
        raise ValueError(f"the comment of {rpc.full_name} lists a reason twice")
    return frozenset(listed)


def shared_reasons() -> Mapping[str, frozenset[str]]:
    """The reasons that no RPC lists as its own, by what they are the reasons of.

    The keys are those of the comment of `ErrorReason`: `every RPC`, `effects`, `the transport`, `runs`.
    """
    paragraphs = comments(REASON_PACKAGE).get(REASON_ENUM, "").split("\n\n")
    found = filter(None, (_SHARED.match(_without_causes(paragraph)) for paragraph in paragraphs))
    return {match[1]: frozenset(match[2].split(", ")) for match in found}


def _without_causes(paragraph: str) -> str:
    """A paragraph as one line, without what is in parentheses."""
    return _CAUSES.sub("", " ".join(paragraph.split()))
