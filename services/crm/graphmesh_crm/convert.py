"""Converts between the CRM's protobuf messages and its domain types. The domain imports no protobuf."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

from graphmesh.crm import v1 as pb
from graphmesh_chassis.timestamps import from_timestamp, to_timestamp

from graphmesh_crm.domain import Change, Customer, Profile, ProfileUpdate, Record, Tier

TIERS: Mapping[pb.CustomerTier.ValueType, Tier] = {
    pb.CustomerTier.CUSTOMER_TIER_UNSPECIFIED: Tier.STANDARD,
    pb.CustomerTier.CUSTOMER_TIER_STANDARD: Tier.STANDARD,
    pb.CustomerTier.CUSTOMER_TIER_PLUS: Tier.PLUS,
    pb.CustomerTier.CUSTOMER_TIER_VIP: Tier.VIP,
}
TIER_MESSAGES = {tier: message for message, tier in TIERS.items()}


def profile(message: pb.CreateCustomerRequest | pb.CustomerUpdate) -> Profile:
    return Profile(
        name=message.name,
        email=message.email,
        phone=message.phone,
        company=message.company,
        tier=TIERS[message.tier],
        locale=message.locale,
        attributes=_attributes(message.attributes),
    )


def profile_update(request: pb.UpdateCustomerRequest) -> ProfileUpdate:
    """The fields that the update mask names; the contract admits only fields of a profile."""
    fields = vars(profile(request.customer))
    return cast(ProfileUpdate, {path: fields[path] for path in request.update_mask.paths})


def record(request: pb.AddRecordRequest) -> Record:
    return Record(
        customer_id=request.customer_id,
        kind=request.kind,
        record_id=request.record_id,
        title=request.title,
        status=request.status,
        attributes=_attributes(request.attributes),
        occurred=from_timestamp(request.occur_time) if request.HasField("occur_time") else datetime.now(UTC),
    )


def customer_message(customer: Customer) -> pb.Customer:
    profile = customer.profile
    return pb.Customer(
        customer_id=customer.customer_id,
        name=profile.name,
        email=profile.email,
        phone=profile.phone,
        company=profile.company,
        tier=TIER_MESSAGES[profile.tier],
        locale=profile.locale,
        attributes=profile.attributes,
        version=customer.version,
        create_time=to_timestamp(customer.created),
        update_time=to_timestamp(customer.updated),
    )


def change_message(change: Change) -> pb.CustomerChange:
    return pb.CustomerChange(
        customer_id=change.customer_id,
        version=change.version,
        field=change.field,
        old_value=change.old,
        new_value=change.new,
        reason=change.reason,
        author=change.author,
        change_time=to_timestamp(change.changed),
    )


def record_message(record: Record) -> pb.Record:
    return pb.Record(
        customer_id=record.customer_id,
        kind=record.kind,
        record_id=record.record_id,
        title=record.title,
        status=record.status,
        attributes=record.attributes,
        occur_time=to_timestamp(record.occurred),
    )


def _attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Drop attributes without a value: an empty value deletes the attribute."""
    return {key: value for key, value in attributes.items() if value}
