"""The customer that a call is bound to, and the customers that a request names."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from graphmesh_contracts import CustomerCheck, Method

from graphmesh_chassis.errors import CustomerMismatch, InvalidResponse
from graphmesh_chassis.validation import fields_reaching, inner_messages

FIELD: Final = "customer_id"
"""The field that names a customer, in whichever message."""
REFUSED_MESSAGE: Final = "The call is bound to a customer, and {} is about more than one"


def require_customer(customer: str, check: CustomerCheck, request: Message | None, method: str) -> None:
    """Check that a request is about `customer` alone, as far as it states that. `request` is None where it is streamed.

    Raises:
        CustomerMismatch: it names another customer, or none where it has to, or the method refuses such calls.
    """
    if check is CustomerCheck.REFUSED:
        raise CustomerMismatch(REFUSED_MESSAGE.format(method), field="", method=method)
    if request is None:
        return
    if check is CustomerCheck.FIELD and getattr(request, FIELD, "") != customer:
        raise CustomerMismatch(field=FIELD, method=method)
    if other := next((path for path, named in named_customers(request) if named != customer), None):
        raise CustomerMismatch(field=other, method=method)


def check_response_of(customer: str, response: Message, method: Method[Any, Any]) -> None:
    """Check that a response names no other customer: such a record is not believed, and does not reach a model.

    Raises:
        InvalidResponse: it names the field, and not the customer.
    """
    if other := next((path for path, named in named_customers(response) if named != customer), None):
        raise InvalidResponse(f"{method.tool}: the response is of another customer: {other}", method=method.path)


def named_customers(message: Message, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Generate the customers that a message names at any depth, with the paths of the fields."""
    for field in _fields_with_customers(message.DESCRIPTOR):
        path, value = f"{prefix}{field.name}", getattr(message, field.name)
        if field.message_type is not None:
            for step, inner in inner_messages(message, field):
                yield from named_customers(inner, f"{path}{step}.")
        elif field.is_repeated:
            yield from ((f"{path}[{index}]", str(named)) for index, named in enumerate(value))
        elif value:
            yield path, str(value)


@cache
def _fields_with_customers(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return fields_reaching(descriptor, is_customer)


def is_customer(field: FieldDescriptor) -> bool:
    """Whether a field names a customer."""
    return field.name == FIELD and field.message_type is None
