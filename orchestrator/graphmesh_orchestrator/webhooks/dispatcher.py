"""Announcing the ends of runs: each delivery is a POST, signed, and tried until somebody answers it (B3)."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import structlog
from graphmesh_chassis.errors import DependencyError, NotFound

from graphmesh_orchestrator.errors import WebhookNotAllowed
from graphmesh_orchestrator.notifications.poll_timer import Pace
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.webhooks import convert
from graphmesh_orchestrator.webhooks.deliveries_sql import SqlDeliveries
from graphmesh_orchestrator.webhooks.delivery import Delivery, HostPatterns, Tries, signed_headers

log = structlog.get_logger("graphmesh.webhooks")

AT_ONCE = 64
"""Deliveries under way in this process."""
TO_A_HOST = 8
"""Of them to one host, give or take what one look finds: hosts that are slow leave room for others."""
SEND_SECONDS = 15.0
"""How long a receiver may take, from connecting to the head of its answer."""
TIMEOUTS = httpx.Timeout(10.0, connect=5.0)


@dataclass(frozen=True)
class Receivers:
    """Who may be called, and the key with which what they get is signed."""

    hosts: HostPatterns
    key: bytes

    def require(self, url: str) -> None:
        """Raises WebhookNotAllowed."""
        host = host_of(url)
        if not self.hosts.match(host):
            raise WebhookNotAllowed(host=host)


def host_of(url: str) -> str:
    """The host of an address, and its port where that is not the scheme's own; empty where it is no address to call.

    It is taken apart by what will call it: two readers may differ over what the host is.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return ""
    if parsed.scheme not in ("http", "https") or parsed.userinfo:
        return ""
    return parsed.netloc.decode("ascii")


def announcement(run: Run) -> Delivery:
    """The delivery of the end of a run, due at once."""
    return Delivery(
        delivery_id=f"whk_{uuid4().hex}",
        tenant=run.tenant,
        run_id=run.run_id,
        url=run.webhook_url,
        host=host_of(run.webhook_url),
        created=run.ended or datetime.now(UTC),
        next_attempt=0,
    )


class Dispatcher:
    """Makes the deliveries that are due. Several processes share them: each try is one's alone."""

    def __init__(
        self, deliveries: SqlDeliveries, runs: SqlRuns, receivers: Receivers, tries: Tries, pace: Pace
    ) -> None:
        """`pace` is told of runs that end."""
        self._deliveries, self._runs = deliveries, runs
        self._receivers, self._tries, self._pace = receivers, tries, pace
        self._under_way: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """For ever."""
        async with _client() as client, self._ended_with_us():
            while True:
                due: float | None = 0.0
                try:
                    due = await self._look(client)
                except DependencyError as error:
                    log.warning("no deliveries claimed", reason=error.reason)
                await self._pace.next(due)

    async def _look(self, client: httpx.AsyncClient) -> float | None:
        """Begin what is due. Returns the seconds until something is, or may be; None where nothing ever is."""
        due = await self._deliveries.next_due()
        if due is None or due > 0:
            return due
        await self._begin_what_is_due(client)
        return 0.0

    async def _begin_what_is_due(self, client: httpx.AsyncClient) -> None:
        while claimed := await self._claim():
            for delivery in claimed:
                task = asyncio.create_task(self._deliver(client, delivery), name=f"delivery {delivery.delivery_id}")
                self._under_way[task] = delivery.host
                task.add_done_callback(self._forget)

    async def _claim(self) -> Sequence[Delivery]:
        room = min(TO_A_HOST, AT_ONCE - len(self._under_way))
        busy = [host for host, count in Counter(self._under_way.values()).items() if count >= TO_A_HOST]
        return await self._deliveries.claim(room, busy) if room > 0 else []

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        try:
            if error := await self._try(client, delivery):
                over = self._tries.are_over(delivery.attempts)
                wait = None if over else self._tries.wait(delivery.attempts)
                log.warning("not delivered", delivery=delivery.delivery_id, attempts=delivery.attempts, error=error)
                await self._deliveries.failed(delivery, error, wait)
            else:
                await self._deliveries.delivered(delivery)
        except DependencyError as error:  # it is tried again when its claim is over
            log.warning("a delivery is not settled", delivery=delivery.delivery_id, reason=error.reason)

    async def _try(self, client: httpx.AsyncClient, delivery: Delivery) -> str:
        """What failed; empty where nothing did. Says nothing of what the receiver has answered, nor of its address."""
        try:
            self._receivers.require(delivery.url)
            run = await self._runs.get(delivery.tenant, delivery.run_id)
            status = await self._post(client, delivery, convert.run_ended(run))
        except (WebhookNotAllowed, NotFound) as error:
            return error.message
        except DependencyError:
            raise
        except Exception as error:  # whatever it is, it is of this delivery alone
            return type(error).__name__
        return "" if httpx.codes.is_success(status) else f"HTTP {status}"

    async def _post(self, client: httpx.AsyncClient, delivery: Delivery, body: bytes) -> int:
        """The status of the answer. Its body is not read."""
        headers = signed_headers(self._receivers.key, delivery.delivery_id, int(time.time()), body)
        headers["content-type"] = "application/json"
        async with (
            asyncio.timeout(SEND_SECONDS),
            client.stream("POST", delivery.url, content=body, headers=headers) as response,
        ):
            return response.status_code

    def _forget(self, task: "asyncio.Task[None]") -> None:
        del self._under_way[task]
        self._pace.at_once()

    @asynccontextmanager
    async def _ended_with_us(self) -> AsyncIterator[None]:
        """What is under way at the end is cut off, and made by another process when its claim is over."""
        try:
            yield
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)


def _client() -> httpx.AsyncClient:
    """It calls what it is told to, and takes neither proxies nor passwords from its surroundings."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(timeout=TIMEOUTS, limits=limits, follow_redirects=False, trust_env=False)
