"""Responses of services that other teams run, checked by their caller against the rules of their contracts.

Services of the mesh validate their own responses; what a service of another team does is not known.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from graphmesh_contracts import Method
from graphmesh_contracts.structs import printable

from graphmesh_chassis.errors import InvalidResponse

if TYPE_CHECKING:
    from graphmesh_chassis.errors import FieldViolation

OWN_PACKAGE = "graphmesh."
MAX_ELEMENTS = 10_000
"""The elements of lists and maps with rules that a response may have: their check takes 5 us each, during which the
process serves no other call."""
NAMED = 3
"""The violations that an error names."""
MAX_NAME = 200
"""Characters of each of them: a service writes the keys of a map that its name has."""


def check_foreign_response(response: Message, rpc: Method[Any, Any]) -> None:
    """Check a response of a service that is not of the mesh's own contracts. One without rules costs nothing.

    Raises:
        InvalidResponse: it names the service, the method, and the first fields that break their rules.
    """
    if not _is_checked(response.DESCRIPTOR):
        return
    from graphmesh_chassis.validation import has_more_elements, violations  # only foreign services need a validator

    if has_more_elements(response, MAX_ELEMENTS):
        rule = f"has more than {MAX_ELEMENTS:,} elements with rules: the service has to return pages, or a stream"
        raise InvalidResponse(f"{rpc.tool}: the response {rule}", method=rpc.path)
    if broken := violations(response):
        raise InvalidResponse(f"{rpc.tool}: the response breaks its contract: {_named(broken)}", method=rpc.path)


def _named(broken: "tuple[FieldViolation, ...]") -> str:
    first = "; ".join(printable(f"{one.field}: {one.description}")[:MAX_NAME] for one in broken[:NAMED])
    return f"{first}; and {len(broken) - NAMED} more" if len(broken) > NAMED else first


@cache
def _is_checked(descriptor: Descriptor) -> bool:
    if descriptor.file.package.startswith(OWN_PACKAGE):
        return False
    from graphmesh_chassis.validation import has_rules

    return has_rules(descriptor)
