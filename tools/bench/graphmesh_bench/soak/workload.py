"""The workload: callers that each begin runs of all cases, in sequence and repeatedly."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_chaos.history import APPROVAL_THRESHOLD, RunRequest
from graphmesh_chaos.mesh_files import PAYMENTS
from graphmesh_chaos.workload import create_invoices, wait_until_ended
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.status import from_status
from graphmesh_client import Client
from graphmesh_local.child_process import gather_or_cancel
from graphmesh_local.running_mesh import RunningMesh

from graphmesh_bench.runs.local_graphs import BLOCKING, INPUT, LOCAL
from graphmesh_bench.soak.plan import Outcomes

SUCCESS, PARKED = RunStatus.RUN_STATUS_SUCCESS, RunStatus.RUN_STATUS_INTERRUPTED
CANCELLED = RunStatus.RUN_STATUS_CANCELLED
SMALL, LARGE = 100, APPROVAL_THRESHOLD
"""Minor units; the large amount needs an approval."""
INVOICE_AMOUNT = 10**12
"""Minor units; more than the charges of a caller."""
PERIOD_SECONDS = 1.0
"""Between the beginnings of two runs of a caller: longer than a run takes, so that the load is constant. A load that
followed the speed of the machine would make all tables follow it."""
CASE_SECONDS = 120.0
"""Longest time of one case."""
EVENTS_A_STREAM = 3
"""Events after which the caller closes a stream and opens another."""
RUNS_A_THREAD = 10
"""Runs of one conversation, whose thread is then no longer used."""


class UnexpectedOutcome(Exception):
    """A run had another outcome than its case expects. The argument is the reason."""


class Caller:
    """A caller with an invoice of its own. Each case is a method."""

    def __init__(self, client: Client, outcomes: Outcomes, webhook_url: str) -> None:
        self._client, self._outcomes, self._webhook_url = client, outcomes, webhook_url
        self._name, self._conversation_runs = f"soak-{uuid4().hex[:12]}", 0
        cases: Sequence[Callable[[], Awaitable[None]]] = (
            self._synchronous,
            self._streamed,
            self._approved,
            self._cancelled,
            self._cancelled_while_parked,
            self._repeated,
            self._conversation,
        )
        self._cases = {case.__name__.removeprefix("_"): case for case in cases}

    @property
    def request(self) -> RunRequest:
        """The request that its invoice is created from."""
        return RunRequest(self._name, self._name, "cu_soak", INVOICE_AMOUNT, run_ids=())

    async def run(self, seconds: float) -> None:
        """Run all cases in turn until `seconds` have passed, each at least once; the last one is finished."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        for number, (name, case) in enumerate(itertools.cycle(self._cases.items())):
            if number >= len(self._cases) and loop.time() >= until:
                return
            next_begin = loop.time() + PERIOD_SECONDS
            await self._run_case(name, case)
            await asyncio.sleep(next_begin - loop.time())

    async def _run_case(self, name: str, case: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(CASE_SECONDS):
                await case()
        except GraphmeshError as error:
            self._outcomes.failures[f"{name}: {error.reason}"] += 1
        except UnexpectedOutcome as failure:
            self._outcomes.failures[f"{name}: {failure}"] += 1
        except TimeoutError:
            self._outcomes.failures[f"{name}: no end within {CASE_SECONDS:g} s"] += 1
        else:
            self._outcomes.runs[name] += 1

    async def _synchronous(self) -> None:
        """Create and wait; a webhook announces the end."""
        run = await self._pay(SMALL, webhook_url=self._webhook_url)
        _require(await self._client.wait_run(run.run_id), SUCCESS)

    async def _streamed(self) -> None:
        """Create, then follow the run with many short streams."""
        run, seen, ended = await self._pay(SMALL), 0, False
        while not ended:
            seen, ended = await self._stream(run, seen)
        _require(await self._client.get_run(run.run_id), SUCCESS)

    async def _stream(self, run: Run, seen: int) -> tuple[int, bool]:
        """Read a few events after `seen`; returns the last seq, and whether the stream ended by itself."""
        async with aclosing(self._client.stream_run(run.run_id, seen)) as events:
            async for event in events:
                if event.seq != seen + 1:
                    raise UnexpectedOutcome("a gap in the events")
                seen = event.seq
                if seen % EVENTS_A_STREAM == 0:
                    return seen, False
        return seen, True

    async def _approved(self) -> None:
        """Park until an approver agrees."""
        run = await self._park()
        [approval] = await self._client.approvals.find(run_id=run.run_id)
        await self._client.approvals.respond(approval.approval_id, approve=True)
        _require(await wait_until_ended(self._client, run.run_id), SUCCESS)

    async def _cancelled(self) -> None:
        """Cancel while a worker executes the run."""
        await self._cancel(await self._client.create_run(BLOCKING, INPUT))

    async def _cancelled_while_parked(self) -> None:
        await self._cancel(await self._park())

    async def _repeated(self) -> None:
        """Create with one request_id: twice at once, and again when the run has ended."""
        request_id = uuid4().hex
        first, second = await asyncio.gather(*(self._pay(SMALL, request_id=request_id) for _ in range(2)))
        _require(await self._client.wait_run(first.run_id), SUCCESS)
        third = await self._pay(SMALL, request_id=request_id)
        if len({first.run_id, second.run_id, third.run_id}) > 1:
            raise UnexpectedOutcome("two runs of one request")

    async def _conversation(self) -> None:
        """On a thread with a state, including a large value."""
        thread_id = f"{self._name}-{self._conversation_runs // RUNS_A_THREAD}"
        self._conversation_runs += 1
        run = await self._client.create_run(LOCAL, INPUT, thread_id=thread_id)
        _require(await self._client.wait_run(run.run_id), SUCCESS)

    async def _pay(self, amount: int, **options: Any) -> Run:
        return await self._client.create_run(PAYMENTS, {"invoice_id": self._name, "amount": amount}, **options)

    async def _park(self) -> Run:
        run = await self._pay(LARGE)
        return _require(await self._client.wait_run(run.run_id), PARKED)

    async def _cancel(self, run: Run) -> None:
        await self._client.cancel_run(run.run_id, "soaked")
        _require(await wait_until_ended(self._client, run.run_id), CANCELLED)


async def run_callers(mesh: RunningMesh, callers: int, seconds: float, outcomes: Outcomes, webhook_url: str) -> None:
    """Run that many concurrent callers for `seconds`."""
    async with Client(mesh.edge, token=mesh.token()) as client:
        running = [Caller(client, outcomes, webhook_url) for _ in range(callers)]
        async with mesh.channel() as channel:
            await create_invoices(channel, [caller.request for caller in running])
        await gather_or_cancel(caller.run(seconds) for caller in running)


def _require(run: Run, status: RunStatus.ValueType) -> Run:
    """Returns `run`. Raises UnexpectedOutcome if it has another status."""
    if run.status != status:
        reason = from_status(run.error).reason if run.HasField("error") else ""
        raise UnexpectedOutcome(reason or f"ended as {RunStatus.Name(run.status)}")
    return run
