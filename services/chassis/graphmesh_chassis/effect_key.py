"""Idempotency keys as values."""

from graphmesh_chassis import metadata
from graphmesh_chassis.errors import IdempotencyKeyRequired, InvalidMetadata

MAX_LENGTH = 255


class EffectKey(str):
    """The idempotency key of an effect: equal in every repeat of it, unique in the tenant.

    A `str` to JSON, databases and gRPC. Empty for calls without an effect.
    """

    __slots__ = ()

    @classmethod
    def of(cls, headers: metadata.Metadata) -> "EffectKey":
        """Read the key of a call.

        Raises:
            IdempotencyKeyRequired: the header is missing.
            InvalidMetadata: the key is too long.
        """
        key = metadata.text(headers, metadata.IDEMPOTENCY_KEY)
        if not key:
            raise IdempotencyKeyRequired(header=metadata.IDEMPOTENCY_KEY)
        if len(key) > MAX_LENGTH:
            raise InvalidMetadata(header=metadata.IDEMPOTENCY_KEY, rule=f"{MAX_LENGTH} characters at the most")
        return cls(key)
