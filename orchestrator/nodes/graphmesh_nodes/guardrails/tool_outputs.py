"""Rules of a plausible response, for `expect` of remote nodes and calls. Each returns the rule that is broken, or "".

remote(BillingService.GetInvoice, ..., expect=lambda state, response: first_broken(
    is_record(response.invoice.invoice_id, state["invoice_id"]),
    has_amounts_in(response, {"EUR"}),
))
"""

from collections.abc import Collection, Iterator, Sized
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from graphmesh.common.v1 import Money
from graphmesh_chassis.validation import fields_reaching, inner_messages


def first_broken(*rules: str) -> str:
    """Return the first rule that is broken; "" where none is."""
    return next((rule for rule in rules if rule), "")


def is_record(received: str, requested: str) -> str:
    """Require that the record is the one that was requested."""
    return "" if received == requested else "it is of another record than was requested"


def has_at_most(elements: Sized, limit: int) -> str:
    """Require that a page is not longer than requested."""
    return "" if len(elements) <= limit else f"it has {len(elements):,} elements, and at most {limit:,} were requested"


def has_amounts_in(response: Message, currencies: Collection[str]) -> str:
    """Require that each amount of money in a response is in one of the currencies, and not below zero."""
    for path, amount in _amounts(response, ""):
        if amount.amount_minor < 0:
            return f"{path} is below zero"
        if (amount.amount_minor or amount.currency_code) and amount.currency_code not in currencies:
            return f"{path} is in an unknown currency"
    return ""


def _amounts(message: Message, prefix: str) -> Iterator[tuple[str, Money]]:
    for field in _fields_with_amounts(message.DESCRIPTOR):
        for step, inner in inner_messages(message, field):
            path = f"{prefix}{field.name}{step}"
            if isinstance(inner, Money):
                yield path, inner
            else:
                yield from _amounts(inner, f"{path}.")


@cache
def _fields_with_amounts(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return fields_reaching(descriptor, lambda field: field.message_type is Money.DESCRIPTOR)
