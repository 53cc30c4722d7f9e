"""Announcing the ends of runs, as values and rules (B3). Standard library only."""

import base64
import binascii
import contextlib
import hmac
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

SECRET_PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
"""How many the standard lets a secret have."""


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True)
class Delivery:
    """The announcement of a run's end to one address."""

    delivery_id: str
    tenant: str
    run_id: str
    url: str
    host: str
    """Of the url; tries are shared out by it."""
    created: datetime
    next_attempt: float
    """In seconds since 1970 of the database's clock."""
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    """With the one under way."""
    last_error: str = ""
    delivered: datetime | None = None


@dataclass(frozen=True)
class Tries:
    """How often, and when, a delivery is tried."""

    most: int = 15
    first_wait: float = 5.0
    """Seconds; doubled with each try."""
    longest_wait: float = 3600.0

    def are_over(self, attempts: int) -> bool:
        return attempts >= self.most

    def wait(self, attempts: int) -> float:
        """Seconds until the next try after so many. At random, so that those that failed together come apart."""
        wait = min(self.longest_wait, self.first_wait * 2.0 ** min(attempts - 1, 32))
        return wait * random.uniform(0.5, 1.0)


class HostPatterns:
    """The hosts that may be called: `hooks.example.com`, `*.example.com` for all below it, `127.0.0.1:8000`.

    Without a port, only the scheme's own is allowed: else an allowed host would open all that listens on it.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [pattern.lower() for pattern in patterns]

    def match(self, host: str) -> bool:
        """`host` has a port only where it is not the scheme's own."""
        return any(_matches(host, pattern) for pattern in self._patterns)


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and host != pattern[1:]
    return host == pattern


def secret_bytes(secret: str) -> bytes:
    """The key in a secret as the standard writes it. Raises ValueError, which does not tell the secret."""
    key = b""
    with contextlib.suppress(binascii.Error):
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError(f"a secret of webhooks is {SECRET_PREFIX} and the Base64 of 24 to 64 bytes")
    return key


def signed_headers(key: bytes, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers with which a receiver knows who sent a body, and when.

    Symmetric signatures of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
    """
    content = f"{delivery_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
