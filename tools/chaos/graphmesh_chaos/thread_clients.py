"""The clients of sessions: they create, follow, answer and cancel runs, and read runs and threads all the while."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial
from random import Random
from typing import Any, TypeVar

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import CallerError, GraphmeshError
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.child_process import gather_or_cancel
from graphmesh_local.running_mesh import RunningMesh
from graphmesh_orchestrator.run_status import RunStatus

from graphmesh_chaos.history import Observed, ReceivedEvent, Resumption, RunRequest, status_of
from graphmesh_chaos.mesh_files import CONVERSATION
from graphmesh_chaos.operations import Operation, OperationKind, OperationRecorder, SeenRun, seen_run
from graphmesh_chaos.sessions import LONG_TIMEOUT, Pause, Session, Turn

TENANT = "default"
RETRY_SECONDS = 0.25
READ_SECONDS = (0.05, 0.6)
"""The range of the interval between two reads of a client."""
ANSWERS = ("yes", "no")
"""The concurrent answers to a question: one of them counts."""

NO_RESULT = (GraphmeshError, TimeoutError)
"""The errors of a call that is refused, or gets no response; the records have it."""

ResultT = TypeVar("ResultT")


def requests_of(sessions: Sequence[Session]) -> list[RunRequest]:
    """The requests of all runs, without a response yet."""
    return [request_of(session.thread_id, turn) for session in sessions for turn in session.turns]


def request_of(thread_id: str, turn: Turn) -> RunRequest:
    """The request of a run, with the ends that it may have: any run but the first may be preempted by a later one."""
    ends = {RunStatus.SUCCESS, RunStatus.CANCELLED}
    if turn.timeout < LONG_TIMEOUT:
        ends |= {RunStatus.TIMEOUT}
    if turn.pause is Pause.DEATH:
        ends = {RunStatus.ERROR}
    if turn.pause is Pause.CANCELLATION:
        ends -= {RunStatus.SUCCESS}
    return RunRequest(
        turn.name, f"INV-{turn.name}", f"cu_{turn.name}", turn.amount, run_ids=(), thread_id=thread_id, ends=tuple(ends)
    )


@dataclass
class Records:
    """What the clients of all sessions got."""

    recorder: OperationRecorder = field(default_factory=OperationRecorder)
    run_ids: dict[str, list[str]] = field(default_factory=dict)
    """Of the responses, by the request_id."""
    received: list[ReceivedEvent] = field(default_factory=list)
    resumptions: list[Resumption] = field(default_factory=list)

    @property
    def observed(self) -> Observed:
        recorder = self.recorder
        return Observed(recorder.operations, self.received, self.resumptions, recorder.defects)

    def with_responses(self, requests: Sequence[RunRequest]) -> list[RunRequest]:
        return [replace(one, run_ids=tuple(self.run_ids.get(one.request_id, ()))) for one in requests]


@asynccontextmanager
async def clients_of(mesh: RunningMesh, records: Records, patience: float) -> AsyncIterator["SessionClients"]:
    """Clients that repeat no call by themselves, so that each attempt is recorded.

    Args:
        patience: the seconds for which they repeat a call that got no response.
    """
    async with Client(mesh.edge, tenant=TENANT, retry_timeout=0, token=mesh.token(TENANT)) as client:
        yield SessionClients(client, records, patience)


class SessionClients:
    def __init__(self, client: Client, records: Records, patience: float) -> None:
        self._client, self._records, self._patience = client, records, patience

    async def run(self, sessions: Sequence[Session]) -> None:
        """Returns when all runs of the sessions have ended, or have no response."""
        await gather_or_cancel(self._run_session(session) for session in sessions)

    async def read_all(self, sessions: Sequence[Session]) -> None:
        """Read each thread and its runs once, as they are at the end."""
        for session in sessions:
            calls = ThreadCalls(self._client, self._records, session.thread_id, self._patience)
            for turn in session.turns:
                for run_id in self._records.run_ids.get(turn.name, [])[:1]:
                    await calls.repeat(partial(calls.get, turn.name, run_id))
            await calls.repeat(calls.list)
            await calls.repeat(calls.state)

    async def _run_session(self, session: Session) -> None:
        calls = ThreadCalls(self._client, self._records, session.thread_id, self._patience)
        reading = asyncio.create_task(calls.read_repeatedly(Random(session.thread_id)))
        began = asyncio.get_running_loop().time()
        try:
            await gather_or_cancel(self._run_turn(calls, turn, began) for turn in session.turns)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _run_turn(self, calls: "ThreadCalls", turn: Turn, began: float) -> None:
        await asyncio.sleep(began + turn.at - asyncio.get_running_loop().time())
        created = await asyncio.gather(*(calls.repeat(lambda: calls.create(turn)) for _ in range(turn.copies)))
        run_ids = [run_id for run_id in created if run_id]
        if not run_ids:
            return
        cancelling = asyncio.create_task(self._cancel(calls, turn, run_ids[0]))
        await calls.follow(turn.name, run_ids[0])
        await cancelling
        if turn.is_updated:
            await attempt(lambda: calls.update(f"after-{turn.name}"))

    async def _cancel(self, calls: "ThreadCalls", turn: Turn, run_id: str) -> None:
        if turn.cancel_after is not None:
            await asyncio.sleep(turn.cancel_after)
            await calls.repeat(lambda: calls.cancel(turn.name, run_id))


class ThreadCalls:
    """The calls of clients on one thread, each of which is recorded."""

    def __init__(self, client: Client, records: Records, thread_id: str, patience: float) -> None:
        self._client, self._records, self._thread_id, self._patience = client, records, thread_id, patience
        self._known: dict[str, str] = {}
        """The request_id of each run_id."""

    async def create(self, turn: Turn) -> str:
        input = {
            "invoice_id": f"INV-{turn.name}",
            "amount": turn.amount,
            "tag": turn.name,
            "pause": turn.pause,
            "seconds": turn.seconds,
        }
        strategy = pb.MultitaskStrategy.Value(f"MULTITASK_STRATEGY_{turn.strategy.name}")
        creating = self._client.create_run(
            CONVERSATION,
            input,
            thread_id=self._thread_id,
            request_id=turn.name,
            multitask_strategy=strategy,
            timeout=turn.timeout,
        )
        fields = {"request_id": turn.name, "strategy": turn.strategy}
        run = await self._record(OperationKind.CREATE, creating, _seen, **fields)
        self._known[run.run_id] = turn.name
        self._records.run_ids.setdefault(turn.name, []).append(run.run_id)
        return run.run_id

    async def get(self, request_id: str, run_id: str) -> pb.Run:
        return await self._record(OperationKind.READ, self._client.get_run(run_id), _seen, request_id=request_id)

    async def cancel(self, request_id: str, run_id: str) -> pb.Run:
        cancelling = self._client.cancel_run(run_id, "a client cancels")
        return await self._record(OperationKind.CANCEL, cancelling, _seen, request_id=request_id)

    async def list(self) -> Sequence[pb.Run]:
        listing = self._client.list_runs(thread_id=self._thread_id, limit=500)
        return await self._record(OperationKind.LIST, listing, lambda runs: {"seen": tuple(map(seen_run, runs))})

    async def state(self) -> pb.ThreadState:
        def log_of(state: pb.ThreadState) -> dict[str, Any]:
            return {"log": tuple(struct_value(state.values).get("log", ()))}

        return await self._record(OperationKind.STATE, self._client.threads.state(self._thread_id), log_of)

    async def update(self, entry: str) -> pb.ThreadState:
        updating = self._client.threads.update_state(self._thread_id, {"log": [entry]}, as_node="ticket")
        return await self._record(OperationKind.UPDATE, updating, lambda _: {}, entry=entry)

    async def read_repeatedly(self, random: Random) -> None:
        """Read a run, the runs or the state, until cancelled."""
        while True:
            await asyncio.sleep(random.uniform(*READ_SECONDS))
            runs = list(self._known.items())
            reads: list[Callable[[], Awaitable[Any]]] = [self.list, self.state]
            if runs:
                run_id, request_id = random.choice(runs)
                reads += [partial(self.get, request_id, run_id)] * 2
            await attempt(random.choice(reads))

    async def follow(self, request_id: str, run_id: str) -> None:
        """Stream the events of a run until it has ended, answer its questions, and read it then."""
        after_seq = 0
        while True:
            with suppress(*NO_RESULT):
                async for event in self._client.stream_run(run_id, after_seq):
                    after_seq = event.seq
                    await self._receive(request_id, run_id, event)
                    if status_of(event) in FINAL:
                        await self.repeat(lambda: self.get(request_id, run_id))
                        return
            await asyncio.sleep(RETRY_SECONDS)

    async def _receive(self, request_id: str, run_id: str, event: pb.RunEvent) -> None:
        status, now = status_of(event), self._records.recorder.now()
        received = ReceivedEvent(run_id, event.seq, event.time.ToDatetime(UTC), event.node, status)
        self._records.received.append(received)
        if status is None:
            return
        seen = SeenRun(request_id, status, event.status_changed.epoch, event.seq)
        operation = Operation(OperationKind.EVENT, self._thread_id, now, now, request_id, seen=(seen,))
        self._records.recorder.operations.append(operation)
        questions = [one.interrupt_id for one in event.status_changed.interrupts if not one.approval_id]
        if questions:
            await asyncio.gather(*(self._answer(request_id, run_id, questions, answer) for answer in ANSWERS))

    async def _answer(self, request_id: str, run_id: str, questions: Sequence[str], answer: str) -> None:
        async def resume() -> None:
            resuming = self._client.resume_run(run_id, dict.fromkeys(questions, answer))
            await self._record(OperationKind.READ, resuming, _seen, request_id=request_id)
            self._records.resumptions.append(Resumption(request_id, answer))

        await self.repeat(resume)

    async def repeat(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT | None:
        """Make a call until it has a response, as long as the patience lasts; None if it is refused."""
        with suppress(*NO_RESULT):
            async with asyncio.timeout(self._patience):
                while True:
                    try:
                        return await call()
                    except CallerError:
                        return None
                    except GraphmeshError:
                        await asyncio.sleep(RETRY_SECONDS)
        return None

    def _record(
        self,
        kind: OperationKind,
        call: Awaitable[ResultT],
        outcome: Callable[[ResultT], dict[str, Any]],
        **fields: Any,
    ) -> Awaitable[ResultT]:
        return self._records.recorder.record(kind, self._thread_id, call, outcome, **fields)


FINAL = [status for status in RunStatus if status.is_final]


async def attempt(call: Callable[[], Awaitable[ResultT]]) -> ResultT | None:
    """Make a call once; None if it is refused, or without a response."""
    with suppress(*NO_RESULT):
        return await call()
    return None


def _seen(run: pb.Run) -> dict[str, Any]:
    return {"seen": (seen_run(run),)}
