"""The comments of the protos, which generated descriptors do not hold, and the reasons that they list."""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from graphmesh_contracts.rpc import Method

REASON_PACKAGE = "graphmesh.common.v1"
REASON_ENUM = f"{REASON_PACKAGE}.ErrorReason"

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
