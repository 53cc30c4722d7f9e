"""Rules of the CRM: customers, their versions and their history of changes. Standard library only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypedDict


class Tier(StrEnum):
    STANDARD = "standard"
    PLUS = "plus"
    VIP = "vip"


@dataclass(frozen=True)
class Profile:
    """The fields of a customer that callers set."""

    name: str
    email: str
    phone: str
    company: str
    tier: Tier
    locale: str
    attributes: Mapping[str, str]


class ProfileUpdate(TypedDict, total=False):
    """The fields of a profile that an update sets; absent fields stay unchanged."""

    name: str
    email: str
    phone: str
    company: str
    tier: Tier
    locale: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Customer:
    customer_id: str
    profile: Profile
    version: int
    created: datetime
    updated: datetime


@dataclass(frozen=True)
class Change:
    """One entry of a customer's history: one field changed by one update."""

    customer_id: str
    version: int
    """Version of the customer that the update created."""
    field: str
    old: str
    new: str
    reason: str
    author: str
    changed: datetime


@dataclass(frozen=True)
class Record:
    """An event in the relationship with a customer: such as an order or a call."""

    customer_id: str
    kind: str
    record_id: str
    title: str
    status: str
    attributes: Mapping[str, str]
    occurred: datetime


def new_customer(customer_id: str, profile: Profile, now: datetime) -> Customer:
    return Customer(customer_id, profile, version=1, created=now, updated=now)


def apply_update(
    customer: Customer, update: ProfileUpdate, *, reason: str, author: str, now: datetime
) -> tuple[Customer, tuple[Change, ...]]:
    """Set the fields of the update, with one change for each field that differs.

    An update that changes nothing returns the customer itself: no new version, no changes.
    """
    profile = replace(customer.profile, **update)
    if profile == customer.profile:
        return customer, ()
    updated = replace(customer, profile=profile, version=customer.version + 1, updated=now)
    changes = (
        Change(customer.customer_id, updated.version, field, old, new, reason, author, now)
        for field, old, new in _differences(customer.profile, profile)
    )
    return updated, tuple(changes)


def _differences(before: Profile, after: Profile) -> Iterator[tuple[str, str, str]]:
    """Yield name, old text and new text of each field that differs, ordered by name."""
    old_fields, new_fields = _fields(before), _fields(after)
    for field in sorted(old_fields.keys() | new_fields.keys()):
        old, new = old_fields.get(field, ""), new_fields.get(field, "")
        if old != new:
            yield field, old, new


def _fields(profile: Profile) -> dict[str, str]:
    """The fields of a profile as text; each attribute is a field of its own, `attributes.<key>`."""
    fields = {name: str(value) for name, value in vars(profile).items() if name != "attributes"}
    return fields | {f"attributes.{key}": value for key, value in profile.attributes.items()}
