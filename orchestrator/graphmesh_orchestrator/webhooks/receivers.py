"""Receivers of webhooks: the addresses that may be called, and the announcement of a run's end to one."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import httpx

from graphmesh_orchestrator.errors import WebhookNotAllowed
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.webhooks.delivery import Delivery, HostPatterns


@dataclass(frozen=True)
class Receivers:
    """The hosts that may be called, and the key that signs what is sent to them."""

    hosts: HostPatterns
    key: bytes

    def require(self, url: str) -> None:
        """Raises WebhookNotAllowed."""
        host = host_of(url)
        if not self.hosts.match(host):
            raise WebhookNotAllowed(host=host)


def host_of(url: str) -> str:
    """Return the host of an address, with its port unless that is the scheme's default; empty for a bad address.

    It is parsed by the library that makes the call: two parsers may disagree on which part is the host.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return ""
    if parsed.scheme not in ("http", "https") or parsed.userinfo:
        return ""
    return parsed.netloc.decode("ascii")


def announcement(run: Run) -> Delivery:
    """Return the delivery of a run's end to its webhook, due at once."""
    return Delivery(
        delivery_id=f"whk_{uuid4().hex}",
        tenant=run.identity.tenant,
        run_id=run.run_id,
        url=run.request.webhook_url,
        host=host_of(run.request.webhook_url),
        created=run.state.ended or datetime.now(UTC),
        next_attempt=0,
    )
