"""Deliveries of the ends of runs as values and rules. Standard library only."""

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
"""The lengths of a key that Standard Webhooks allows."""


MAX_WAIT_SECONDS = 3600.0
"""The longest wait between two attempts."""


class DeliveryStatus(StrEnum):
    """The status of a delivery."""

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
    """The host of the url: attempts are limited per host."""
    created: datetime
    next_attempt: float
    """Seconds since 1970 of the database's clock."""
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    """The attempts so far, with the current one."""
    last_error: str = ""
    delivered: datetime | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """When failed deliveries are attempted again."""

    max_attempts: int = 15
    first_backoff: float = 5.0
    """Seconds; doubled with each attempt."""
    max_backoff: float = MAX_WAIT_SECONDS

    def backoff(self, attempts: int) -> float | None:
        """Return the seconds until the next attempt after so many; None after the last one.

        Jitter spreads deliveries that failed together.
        """
        if attempts >= self.max_attempts:
            return None
        backoff = min(self.max_backoff, self.first_backoff * 2.0 ** min(attempts - 1, 32))
        return backoff * random.uniform(0.5, 1.0)


class HostPatterns:
    """Patterns of hosts: `hooks.example.com`, `*.example.com` for all its subdomains, `127.0.0.1:8000`.

    A pattern without a port matches only the scheme's default port, not every service of the host.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [pattern.lower() for pattern in patterns]

    def match(self, host: str) -> bool:
        """`host` has a port unless that is the scheme's default."""
        return any(_matches(host, pattern) for pattern in self._patterns)


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and host != pattern[1:]
    return host == pattern


def secret_bytes(secret: str) -> bytes:
    """Return the key of a secret in the form of Standard Webhooks. Raises ValueError, without the secret."""
    key = b""
    with contextlib.suppress(binascii.Error):
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError(f"a secret of webhooks is {SECRET_PREFIX} and the Base64 of 24 to 64 bytes")
    return key


def signed_headers(key: bytes, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove the sender and the time of a body.

    Symmetric signatures of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
    """
    content = f"{delivery_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
