"""Delivers the ends of runs: each delivery is a signed POST, attempted until the receiver accepts it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import structlog
from graphmesh_chassis.egress import refusal
from graphmesh_chassis.errors import DependencyError, NotFound
from graphmesh_chassis.large_values import convert_aside, is_large, read_places
from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.metrics import counter
from graphmesh_chassis.tenant_turns import work_for
from graphmesh_contracts.egress import REFUSAL_HEADER

from graphmesh_orchestrator.errors import WebhookNotAllowed
from graphmesh_orchestrator.notifications.poll_timer import PollTimer
from graphmesh_orchestrator.runs.runs import Runs
from graphmesh_orchestrator.webhooks import convert
from graphmesh_orchestrator.webhooks.deliveries import Deliveries
from graphmesh_orchestrator.webhooks.delivery import Delivery, RetryPolicy, signed_headers
from graphmesh_orchestrator.webhooks.receivers import Receivers

ATTEMPTS = counter(
    "graphmesh.webhooks.attempts",
    "{attempt}",
    "Attempts to deliver a webhook call: delivered, failed (it is made again), dead (it was the last one)",
    (names.END,),
)
log = structlog.get_logger("graphmesh.webhooks")

MAX_CONCURRENT = 64
"""Concurrent deliveries of this process."""
MAX_PER_HOST = 8
"""Concurrent deliveries to one host; one poll may exceed it. A slow host leaves the others their share."""
SEND_SECONDS = 15.0
"""How long a receiver may take, from connecting to the head of its response."""
WORKLOAD = "orchestrator"
"""The name of its list of hosts in mesh.yaml."""
TIMEOUTS = httpx.Timeout(10.0, connect=5.0)


class Dispatcher:
    """A background task that makes the deliveries that are due. Processes share them: one makes an attempt."""

    def __init__(
        self,
        deliveries: Deliveries,
        runs: Runs,
        receivers: Receivers,
        policy: RetryPolicy,
        timer: PollTimer,
        egress: str = "",
    ) -> None:
        """
        Args:
            timer: is notified of runs that end.
            egress: the HTTP proxy for all deliveries; empty: none.
        """
        self._deliveries, self._runs = deliveries, runs
        self._receivers, self._policy, self._timer = receivers, policy, timer
        self._egress = egress
        self._active: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with _client(self._egress) as client, self._cancelled_at_end():
            while True:
                due: float | None = 0.0
                try:
                    due = await self._poll(client)
                except DependencyError as error:
                    log.warning("no deliveries claimed", reason=error.reason)
                await self._timer.wait(due)

    async def _poll(self, client: httpx.AsyncClient) -> float | None:
        """Begin what is due. Returns the seconds until the next delivery is due, as `next_due`."""
        due = await self._deliveries.next_due()
        if due is None or due > 0:
            return due
        while claimed := await self._claim():
            for delivery in claimed:
                task = asyncio.create_task(self._deliver(client, delivery), name=f"delivery {delivery.delivery_id}")
                self._active[task] = delivery.host
                task.add_done_callback(self._on_done)
        return 0.0

    async def _claim(self) -> Sequence[Delivery]:
        limit = min(MAX_PER_HOST, MAX_CONCURRENT - len(self._active))
        busy = [host for host, count in Counter(self._active.values()).items() if count >= MAX_PER_HOST]
        return await self._deliveries.claim(limit, busy) if limit > 0 else []

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        try:
            if error := await self._attempt(client, delivery):
                log.warning("not delivered", delivery=delivery.delivery_id, attempts=delivery.attempts, error=error)
                backoff = self._policy.backoff(delivery.attempts)
                await self._deliveries.record_failure(delivery, error, backoff)
                ATTEMPTS.add(1, {names.END: "dead" if backoff is None else "failed"})
            else:
                await self._deliveries.record_success(delivery)
                ATTEMPTS.add(1, {names.END: "delivered"})
        except DependencyError as error:  # the delivery is due again when its claim expires
            log.warning("delivery outcome not recorded", delivery=delivery.delivery_id, reason=error.reason)

    async def _attempt(self, client: httpx.AsyncClient, delivery: Delivery) -> str:
        """Return the failure, without the response or the address; empty where the receiver has accepted."""
        try:
            self._receivers.require(delivery.url)
            status = await self._post(client, delivery, await self._body(delivery))
        except (WebhookNotAllowed, NotFound) as error:
            return error.message
        except DependencyError:
            raise
        except Exception as error:  # it concerns this delivery alone
            refused = refusal(error)
            return refused.advice(WORKLOAD) if refused else type(error).__name__
        return "" if httpx.codes.is_success(status) else f"HTTP {status}"

    async def _body(self, delivery: Delivery) -> bytes:
        work_for(delivery.tenant)
        async with read_places("webhooks"):
            run = await self._runs.get(delivery.tenant, delivery.run_id)
            has_large = is_large(run.request.input, run.state.output)
            return await convert_aside(has_large, convert.run_ended, run)

    async def _post(self, client: httpx.AsyncClient, delivery: Delivery, body: bytes) -> int:
        """Return the status of the response. Its body is not read."""
        headers = signed_headers(self._receivers.key, delivery.delivery_id, int(time.time()), body)
        headers["content-type"] = "application/json"
        async with (
            asyncio.timeout(SEND_SECONDS),
            client.stream("POST", delivery.url, content=body, headers=headers) as response,
        ):
            if self._egress and REFUSAL_HEADER in response.headers:
                raise httpx.HTTPStatusError("refused", request=response.request, response=response)
            return response.status_code

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        del self._active[task]
        self._timer.now()

    @asynccontextmanager
    async def _cancelled_at_end(self) -> AsyncIterator[None]:
        """Cancel attempts when the task ends: another process makes them when their claims expire."""
        try:
            yield
        finally:
            for task in self._active:
                task.cancel()
            await asyncio.gather(*self._active, return_exceptions=True)


def _client(egress: str) -> httpx.AsyncClient:
    """Return a client that uses neither proxies nor credentials of the environment, but the way out of the mesh."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    proxy = egress or None
    return httpx.AsyncClient(timeout=TIMEOUTS, limits=limits, follow_redirects=False, trust_env=False, proxy=proxy)
