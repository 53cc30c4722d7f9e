"""The rules of the CRM: what a customer is, and how a change of one is told. Standard library only."""

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
    """What is known of a customer, as somebody tells it."""

    name: str
    email: str
    phone: str
    company: str
    tier: Tier
    locale: str
    attributes: Mapping[str, str]


class Values(TypedDict, total=False):
    """The parts of a profile that an update sets; what is absent stays as it is."""

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
    """One field of a customer, changed once."""

    customer_id: str
    version: int
    """The version that the change made."""
    field: str
    old: str
    new: str
    reason: str
    author: str
    changed: datetime


@dataclass(frozen=True)
class Record:
    """Something that happened with a customer."""

    customer_id: str
    kind: str
    record_id: str
    title: str
    status: str
    attributes: Mapping[str, str]
    occurred: datetime


def enrol(customer_id: str, profile: Profile, now: datetime) -> Customer:
    return Customer(customer_id, profile, version=1, created=now, updated=now)


def revise(
    before: Customer, values: Values, *, reason: str, author: str, now: datetime
) -> tuple[Customer, tuple[Change, ...]]:
    """Set the values. Only a real difference makes a version, and each differing field makes a change."""
    profile = replace(before.profile, **values)
    if profile == before.profile:
        return before, ()
    after = replace(before, profile=profile, version=before.version + 1, updated=now)
    changes = (
        Change(before.customer_id, after.version, field, old, new, reason, author, now)
        for field, old, new in _differences(before.profile, profile)
    )
    return after, tuple(changes)


def _differences(before: Profile, after: Profile) -> Iterator[tuple[str, str, str]]:
    """The name, the old and the new text of what differs, by name."""
    olds, news = _fields(before), _fields(after)
    for field in sorted(olds.keys() | news.keys()):
        old, new = olds.get(field, ""), news.get(field, "")
        if old != new:
            yield field, old, new


def _fields(profile: Profile) -> dict[str, str]:
    """The profile as text by name; an attribute is a field of its own."""
    fields = {name: str(value) for name, value in vars(profile).items() if name != "attributes"}
    return fields | {f"attributes.{key}": value for key, value in profile.attributes.items()}


def search_key(*texts: str) -> str:
    """The form in which texts are compared, a line each: letter case and runs of white space do not matter.

    It is made here and stored, because SQLite lowers ASCII only and PostgreSQL by its locale.
    """
    return "\n".join(" ".join(text.casefold().split()) for text in texts)


def searched(profile: Profile) -> str:
    """What a search by text looks through."""
    return search_key(profile.name, profile.email, profile.company)
