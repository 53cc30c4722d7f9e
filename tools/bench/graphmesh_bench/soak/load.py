"""The load: callers that each go through all kinds of runs, one after the other, again and again."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_chaos.facts import ASKED_FROM, Order
from graphmesh_chaos.load import bill, ended
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.status import from_status
from graphmesh_client import Client
from graphmesh_local.child_process import together

from graphmesh_bench.runs.graph import INPUT
from graphmesh_bench.soak.plan import Tally

SUCCESS, PARKED = RunStatus.RUN_STATUS_SUCCESS, RunStatus.RUN_STATUS_INTERRUPTED
CANCELLED = RunStatus.RUN_STATUS_CANCELLED
PAYMENTS, WORKING, STAYING = "payments", "working", "staying"
"""The graphs."""
SMALL, LARGE = 100, ASKED_FROM
"""Minor units, of which a person has to agree to the large amount."""
FUNDS = 10**12
"""Minor units: nobody comes to the end of an invoice."""
EVERY_SECONDS = 1.0
"""Between the beginnings of two turns of a caller: more than a turn takes, so that the load is the same at any time.
One that follows the speed of the machine would make all tables follow it."""
TURN_SECONDS = 120.0
"""How long one turn of a caller may take."""
EVENTS_A_STREAM = 3
"""After so many the caller breaks its stream off, and goes on with another one."""
RUNS_A_THREAD = 10
"""Of one conversation; its thread is then used no more."""


class Unexpected(Exception):
    """A run went another way than it should. The argument is the reason."""


class Caller:
    """One of those who make the load, with an invoice of its own."""

    def __init__(self, client: Client, tally: Tally, webhook_url: str) -> None:
        self._client, self._tally, self._webhook_url = client, tally, webhook_url
        self._name, self._talks = f"soak-{uuid4().hex[:12]}", 0
        kinds: Sequence[Callable[[], Awaitable[None]]] = (
            self._synchronous,
            self._streamed,
            self._approved,
            self._stopped,
            self._withdrawn,
            self._repeated,
            self._talking,
        )
        self._kinds = {kind.__name__.removeprefix("_"): kind for kind in kinds}

    @property
    def order(self) -> Order:
        """What its invoice is made of."""
        return Order(self._name, self._name, "cu_soak", FUNDS, answers=())

    async def run(self, seconds: float) -> None:
        """Runs of all kinds for so long, at least one of each; the turn that is under way is finished."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        for number, (name, kind) in enumerate(itertools.cycle(self._kinds.items())):
            if number >= len(self._kinds) and loop.time() >= until:
                return
            next_turn = loop.time() + EVERY_SECONDS
            await self._turn(name, kind)
            await asyncio.sleep(next_turn - loop.time())

    async def _turn(self, name: str, kind: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await kind()
        except GraphmeshError as error:
            self._tally.failures[f"{name}: {error.reason}"] += 1
        except Unexpected as failure:
            self._tally.failures[f"{name}: {failure}"] += 1
        except TimeoutError:
            self._tally.failures[f"{name}: no end within {TURN_SECONDS:g} s"] += 1
        else:
            self._tally.runs[name] += 1

    async def _synchronous(self) -> None:
        """Asked for and waited for; its end is announced."""
        run = await self._pay(SMALL, webhook_url=self._webhook_url)
        _require(await self._client.wait_run(run.run_id), SUCCESS)

    async def _streamed(self) -> None:
        """Begun in the background, then followed by many short streams."""
        run, seen, over = await self._pay(SMALL), 0, False
        while not over:
            over = True
            async with aclosing(self._client.stream_run(run.run_id, seen)) as events:
                async for event in events:
                    if event.seq != seen + 1:
                        raise Unexpected("a gap in the events")
                    seen = event.seq
                    if seen % EVENTS_A_STREAM == 0:
                        over = False
                        break
        _require(await self._client.get_run(run.run_id), SUCCESS)

    async def _approved(self) -> None:
        """Parked until a person agrees."""
        run = await self._parked()
        [asked] = await self._client.approvals.find(run_id=run.run_id)
        await self._client.approvals.respond(asked.approval_id, approve=True)
        _require(await ended(self._client, run.run_id), SUCCESS)

    async def _stopped(self) -> None:
        """Cancelled while it is executed."""
        await self._cancel(await self._client.create_run(STAYING, INPUT))

    async def _withdrawn(self) -> None:
        """Cancelled while it is parked."""
        await self._cancel(await self._parked())

    async def _repeated(self) -> None:
        """Asked for twice at once, and once more when it has ended."""
        request_id = uuid4().hex
        first, second = await asyncio.gather(*(self._pay(SMALL, request_id=request_id) for _ in range(2)))
        _require(await self._client.wait_run(first.run_id), SUCCESS)
        third = await self._pay(SMALL, request_id=request_id)
        if len({first.run_id, second.run_id, third.run_id}) > 1:
            raise Unexpected("two runs of one request")

    async def _talking(self) -> None:
        """On a thread that has a state, with a document that is stored aside."""
        thread_id = f"{self._name}-{self._talks // RUNS_A_THREAD}"
        self._talks += 1
        run = await self._client.create_run(WORKING, INPUT, thread_id=thread_id)
        _require(await self._client.wait_run(run.run_id), SUCCESS)

    async def _pay(self, amount: int, **options: Any) -> Run:
        wanted = {"invoice_id": self._name, "amount": amount}
        return await self._client.create_run(PAYMENTS, wanted, **options)

    async def _parked(self) -> Run:
        run = await self._pay(LARGE)
        return _require(await self._client.wait_run(run.run_id), PARKED)

    async def _cancel(self, run: Run) -> None:
        await self._client.cancel_run(run.run_id, "soaked")
        _require(await ended(self._client, run.run_id), CANCELLED)


async def call(edge: str, mesh: str, callers: int, seconds: float, tally: Tally, webhook_url: str) -> None:
    """Let so many callers call for so long."""
    async with Client(edge) as client:
        made = [Caller(client, tally, webhook_url) for _ in range(callers)]
        async with Channel(mesh) as channel:
            await bill(channel, [caller.order for caller in made])
        await together(caller.run(seconds) for caller in made)


def _require(run: Run, status: RunStatus.ValueType) -> Run:
    """`run`, which has to have this status."""
    if run.status != status:
        reason = from_status(run.error).reason if run.HasField("error") else ""
        raise Unexpected(reason or f"ended as {RunStatus.Name(run.status)}")
    return run
