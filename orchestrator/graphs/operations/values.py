"""The values that fields take, as the contracts of the services have them."""

from collections.abc import Mapping
from typing import Any

from graphmesh.crm.v1 import CrmService, UpdateCustomerRequest
from graphmesh.ticketing.v1 import TicketingService, UpdateTicketRequest
from graphmesh_nodes import tool_schema
from graphmesh_nodes.errors import FieldViolation, InvalidRequest

from operations.state import Change, Record

ENUMS: Mapping[str, Mapping[str, str]] = {
    "customer.tier": {"standard": "CUSTOMER_TIER_STANDARD", "plus": "CUSTOMER_TIER_PLUS", "vip": "CUSTOMER_TIER_VIP"},
    "ticket.status": {
        "open": "TICKET_STATUS_OPEN",
        "pending": "TICKET_STATUS_PENDING",
        "solved": "TICKET_STATUS_SOLVED",
        "closed": "TICKET_STATUS_CLOSED",
    },
}
"""The values of enums, as people write them."""
FIELDS: Mapping[Record, tuple[str, ...]] = {
    "customer": ("name", "email", "phone", "company", "tier", "locale"),
    "ticket": ("status", "priority", "assignee", "queue"),
}
FILTERS: Mapping[Record, tuple[str, ...]] = {
    "customer": ("text", "email"),
    "ticket": ("text", "customer_id", "status", "queue", "priority"),
}
ATTRIBUTE = "attributes."
"""The beginning of a field that is one of a customer's attributes."""


def wire_value(record: Record, field: str, value: str) -> str:
    """Return a value as the service takes it."""
    return ENUMS.get(f"{record}.{field}", {}).get(value, value)


def shown_value(record: Record, field: str, value: Any) -> str:
    """Return a value of a service as people write it."""
    return next((shown for shown, wire in ENUMS.get(f"{record}.{field}", {}).items() if wire == value), str(value))


def normalized(record: Record, field: str, value: str) -> str:
    """Return a value as it is stored: names of enums, queues and priorities in lower case."""
    lowered = f"{record}.{field}" in (*ENUMS, "ticket.queue", "ticket.priority")
    return value.strip().lower() if lowered else value.strip()


def broken_rules(change: Change) -> list[FieldViolation]:
    """Return what a change breaks: unknown fields, filters and values, and the rules of the contracts."""
    record, found = change["record"], []
    for field, value in change["set"].items():
        found += _broken_value(record, field, value)
    for name, value in change.get("where", {}).items():
        found += _broken_filter(record, name, value)
    if bool(change.get("ids")) == bool(change.get("where")):
        found.append(FieldViolation("ids", "or where has to name the records, and not both"))
    return found


def _broken_filter(record: Record, name: str, value: str) -> list[FieldViolation]:
    if name not in FILTERS[record]:
        return [FieldViolation(f"where.{name}", f"is none of {', '.join(FILTERS[record])}")]
    if not value.strip():
        return [FieldViolation(f"where.{name}", "must not be empty: it would select all records")]
    if (names := ENUMS.get(f"{record}.{name}")) and value not in names:
        return [FieldViolation(f"where.{name}", f"{value!r} is none of {', '.join(names)}")]
    return []


def _broken_value(record: Record, field: str, value: str) -> list[FieldViolation]:
    known = field in FIELDS[record] or (record == "customer" and field.startswith(ATTRIBUTE))
    if not known:
        return [FieldViolation(f"set.{field}", f"is none of {', '.join(FIELDS[record])}")]
    if (names := ENUMS.get(f"{record}.{field}")) and value not in names:
        return [FieldViolation(f"set.{field}", f"{value!r} is none of {', '.join(names)}")]
    try:
        update_request(record, "T-1", {field: value}, 1, "a change")
    except InvalidRequest as error:
        return [FieldViolation(f"set.{field}", f"{value!r} {one.description}") for one in error.violations]
    return []


def update_request(
    record: Record, record_id: str, values: Mapping[str, str], version: int, reason: str
) -> UpdateCustomerRequest | UpdateTicketRequest:
    """Return the request that sets values of a record. Attributes have to be all of the customer's; empty ones are
    removed.

    Raises:
        InvalidRequest: a value breaks a rule of the contract.
    """
    named = {name.removeprefix(ATTRIBUTE): value for name, value in values.items() if name.startswith(ATTRIBUTE)}
    plain = {name: wire_value(record, name, value) for name, value in values.items() if not name.startswith(ATTRIBUTE)}
    attributes = {name: value for name, value in named.items() if value}
    fields = {**plain, **({"attributes": attributes} if named else {})}
    common = {"update_mask": sorted(fields), "expected_version": version}
    if record == "customer":
        arguments = {"customer_id": record_id, "customer": fields, "reason": reason, **common}
        return tool_schema(CrmService.UpdateCustomer).parse(arguments)
    return tool_schema(TicketingService.UpdateTicket).parse({"ticket_id": record_id, "ticket": fields, **common})
