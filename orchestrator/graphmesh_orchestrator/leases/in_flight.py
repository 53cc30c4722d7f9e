"""The runs that this process executes under its leases."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import uuid4

import structlog
from graphmesh_chassis.admission import RESERVED
from graphmesh_chassis.epoch import Epoch
from langgraph.runtime import RunControl

from graphmesh_orchestrator.checkpoints import NewThread
from graphmesh_orchestrator.db.clock import LEASE_MARGIN_SECONDS, LEASE_RENEWAL_SECONDS, LEASE_SECONDS
from graphmesh_orchestrator.leases.leases import MAX_TAKEOVERS
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run

log = structlog.get_logger("graphmesh.leases")

ALONE_SECONDS = 10.0
"""How long a worker admits no run beside one that may end its process, unless that has progress or ends before."""
SURVIVAL_SECONDS = 2.0
"""The age of a lost lease at which the worker declares that it lives: a heartbeat has shown by then whether a run had
blocked the process."""
GUARD_SECONDS = 0.1
"""The interval in which own leases are checked; effects check theirs when they are sent."""


@dataclass(frozen=True)
class Worker:
    """A process that executes runs."""

    name: str = field(default_factory=lambda: f"worker_{uuid4().hex}")
    capacity: int = 200
    """The number of runs that it executes at the same time."""
    graphs: frozenset[str] = frozenset()
    """The graphs whose runs it executes; empty: all."""
    max_takeovers: int = MAX_TAKEOVERS
    """Takeovers of a run in a row, without a new checkpoint, after which it is executed alone. The next one ends it."""

    def executes(self, graph: str) -> bool:
        return not self.graphs or graph in self.graphs


class OwnLease:
    """The lease of an active run, by this process' monotonic clock.

    It counts from when a claim or a renewal was begun, so that it is over before it is for the database; after that,
    other workers may claim the run, whether or not this process can reach the database.
    """

    def __init__(self, begun: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`begun` is the time of `clock` when the claim was begun; infinite where no other worker is."""
        self._clock = clock
        self._ends = begun + LEASE_SECONDS - LEASE_MARGIN_SECONDS

    @property
    def remaining(self) -> float:
        """Seconds; negative when the lease may be over."""
        return self._ends - self._clock()

    def renewed(self, begun: float) -> None:
        """A renewal that was begun then has found the lease held. It may be as old as one that is not renewed yet."""
        self._ends = max(self._ends, begun + LEASE_SECONDS - LEASE_RENEWAL_SECONDS - LEASE_MARGIN_SECONDS)


@dataclass
class ActiveRun:
    """A run that this process executes."""

    run: Run
    cancel_reason: str
    lease: OwnLease
    new_thread: NewThread | None = None
    """Where the thread was created with the run, so that there is no state to read."""
    control: RunControl = field(default_factory=RunControl)
    ended: Run | None = None
    """The run as it is stored with its end."""
    left_as: RunStatus = RunStatus.RUNNING
    """The status in which the execution has left the run: `running` where it was released."""
    failure: str = ""
    """The reason for which the execution was cut off before the run ended; else empty."""
    takeovers: Callable[[], int] = field(init=False)
    """Returns the takeovers of the run since its last checkpoint."""
    is_pending: bool = False
    """Whether its task has not begun: a cancellation would end that before it can end the run."""
    is_lost: bool = False
    """Whether the execution was stopped for the loss of its lease."""
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.takeovers = lambda: self.run.state.takeovers


class Work(Protocol):
    """A task, or a call in a thread."""

    def done(self) -> bool: ...


class InFlight:
    """The active runs by id: a worker's capacity, and the way to cancel what it executes.

    Of the last eighth of the capacity, a tenant gets something only while it has fewer runs than are free (the dynamic
    threshold of Choudhury and Hahne): a run of another tenant does not wait until long runs of the first one end. While
    runs are pending for lack of capacity, further ones of tenants with active runs are pending too: they are claimed in
    turns of the tenants, which new ones would overtake.
    """

    def __init__(self, worker: Worker, *, is_alone: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        """`is_alone`: no other process uses the database, so that leases do not expire."""
        self.worker, self._is_alone, self._clock = worker, is_alone, clock
        self._active: dict[str, ActiveRun] = {}
        self._by_tenant: Counter[str] = Counter()
        """The numbers of active runs."""
        self._has_pending = False
        """Whether runs are pending for lack of capacity."""
        self._abandoned: list[Work] = []
        self._suspects: list[tuple[ActiveRun, float]] = []
        """The runs beside which no other is admitted, and until when."""
        self._is_draining = False
        self.drained: dict[str, Epoch] = {}
        """The epochs of the runs that were active since this process takes no further ones."""
        self._lost: dict[str, tuple[Epoch, float]] = {}
        """The epochs of the leases that were lost, by run, and when."""
        self._blocked_at = -math.inf

    @property
    def free_capacity(self) -> int:
        """The number of further runs that this process takes."""
        is_closed = self._is_draining or self._holds_suspect()
        return 0 if is_closed else self.worker.capacity - len(self._active) - self.abandoned

    @property
    def abandoned(self) -> int:
        """The number of tasks and threads of runs that have ended, which have not stopped. Each takes a place."""
        self._abandoned = [work for work in self._abandoned if not work.done()]
        return len(self._abandoned)

    def abandon(self, work: Iterable[Work]) -> None:
        """Count tasks or threads of a run that has ended until they stop."""
        self._abandoned.extend(work)

    def claimant(self, graph: str, tenant: str) -> str:
        """Return the worker that may hold a new run of a graph from the start; empty where this one may not."""
        if not self.worker.executes(graph):
            return ""
        if not self._has_capacity_for(tenant):
            self._has_pending = True
            return ""
        return self.worker.name

    def _has_capacity_for(self, tenant: str) -> bool:
        active = self._by_tenant[tenant]
        return not (active and self._has_pending) if self.shared_capacity > 0 else active < self.free_capacity

    @property
    def shared_capacity(self) -> int:
        """The part of the free capacity that any tenant may use; 0 or less: nothing."""
        return self.free_capacity - self.worker.capacity // RESERVED

    def next_claim(self) -> tuple[int, Collection[str]]:
        """Return how many runs to claim, and the tenants whose runs are not to be."""
        if (shared := self.shared_capacity) > 0:
            return shared, ()
        free = self.free_capacity
        return (free + 1) // 2, {tenant for tenant, active in self._by_tenant.items() if active >= free}

    def none_pending(self) -> None:
        """Fewer runs were pending than there was capacity for."""
        self._has_pending = False

    def lease(self, begun: float) -> OwnLease:
        """Return the lease of a claim that was begun at this time of the monotonic clock."""
        return OwnLease(math.inf if self._is_alone else begun)

    @property
    def held(self) -> Mapping[str, Epoch]:
        """The epochs of the active runs. Called from the heartbeat's thread as well."""
        return {run_id: active.run.state.epoch for run_id, active in list(self._active.items())}

    def add(self, active: ActiveRun) -> None:
        """Register a run in place of an execution of an earlier epoch, which is cancelled."""
        self.lost(active.run.run_id, Epoch(active.run.state.epoch - 1))
        if active.run.run_id not in self._active:
            self._by_tenant[active.run.identity.tenant] += 1
        self._active[active.run.run_id] = active
        if self._is_draining:
            self._drain(active)
        if active.run.state.takeovers >= self.worker.max_takeovers and not active.cancel_reason:
            self._suspects.append((active, self._clock() + ALONE_SECONDS))

    @property
    def graphs(self) -> list[str]:
        """The graph of each active run. Called from other threads as well."""
        return [active.run.identity.graph for active in list(self._active.values())]

    def graph_of(self, run_id: str) -> str:
        """Return the graph of an active run; empty for another run. Called from the event loop's watcher as well."""
        active = self._active.get(run_id)
        return active.run.identity.graph if active else ""

    def remove(self, active: ActiveRun) -> bool:
        """Remove a run, unless an execution of a later epoch has taken its place. Returns whether capacity was full."""
        was_full = self.shared_capacity <= 0
        if self._active.get(active.run.run_id) is active:
            del self._active[active.run.run_id]
            self._by_tenant[tenant := active.run.identity.tenant] -= 1
            if not self._by_tenant[tenant]:
                del self._by_tenant[tenant]
        return was_full

    def cancel(self, run_id: str, reason: str) -> None:
        """End a run that this process executes. Its calls are cancelled, down to the databases of services."""
        active = self._active.get(run_id)
        if active and not active.cancel_reason:
            active.cancel_reason = reason
            if not active.is_pending:
                active.task.cancel()

    def lost(self, run_id: str, epoch: Epoch) -> None:
        """Stop an execution of this epoch or an earlier one. A later one, maybe of this worker too, continues."""
        active = self._active.get(run_id)
        if active and active.run.state.epoch <= epoch and not active.is_lost:
            log.warning("lease lost", run=run_id, epoch=active.run.state.epoch)
            active.is_lost = True
            self.fenced(active)
            active.task.cancel()

    def fenced(self, active: ActiveRun) -> None:
        """Another worker has the lease of a run, or may have it, while this one lives."""
        self._lost[active.run.run_id] = active.run.state.epoch, self._clock()

    def blocked(self) -> None:
        """Nothing of this process was executed for so long that its leases were lost. Called from the heartbeat's
        thread."""
        self._blocked_at = self._clock()

    def take_survived(self) -> Mapping[str, Epoch]:
        """Return the epochs of the leases that were lost some time ago, by run, though this process was not blocked."""
        now = self._clock()
        due = {run_id: lost for run_id, lost in self._lost.items() if now - lost[1] >= SURVIVAL_SECONDS}
        self._lost = {run_id: lost for run_id, lost in self._lost.items() if run_id not in due}
        return {run_id: epoch for run_id, (epoch, at) in due.items() if abs(at - self._blocked_at) > LEASE_SECONDS}

    def keep_survived(self, lost: Mapping[str, Epoch]) -> None:
        """Take leases back whose loss could not be declared."""
        at = self._clock() - SURVIVAL_SECONDS
        self._lost = {run_id: (epoch, at) for run_id, epoch in lost.items()} | self._lost

    def renewed(self, held: Collection[str], begun: float) -> None:
        """Renewals of the leases of runs, begun at this time, have succeeded. Called from the heartbeat's thread."""
        for run_id in held:
            if active := self._active.get(run_id):
                active.lease.renewed(begun)

    def _holds_suspect(self) -> bool:
        """Report whether a run may end this process, and is executed alone for that."""
        self._suspects = [
            (active, until)
            for active, until in self._suspects
            if active.takeovers() and self._clock() < until and self._active.get(active.run.run_id) is active
        ]
        return bool(self._suspects)

    async def guard(self) -> None:
        """Stop executions whose leases may be over by this process' own clock, until cancelled.

        A worker that cannot reach its database gets no other notice of it.
        """
        while True:
            for active in list(self._active.values()):
                if active.lease.remaining <= 0:
                    self.lost(active.run.run_id, active.run.state.epoch)
            await asyncio.sleep(GUARD_SECONDS)

    async def ended(self, tenant: str, run_id: str) -> Run | None:
        """Wait until this process no longer executes a run of the tenant, if it does.

        Returns the run as it is stored; None where it has not ended, or is another process's by now.
        """
        active = self._active.get(run_id)
        if active is None or active.run.identity.tenant != tenant:
            return None
        await asyncio.wait({active.task})
        return active.ended

    def drain(self) -> list[asyncio.Task[None]]:
        """Take no further runs, and let those that are active stop at the end of their superstep. Returns their tasks.

        A run that begins nevertheless, since its creation was under way, stops likewise.
        """
        self._is_draining = True
        for active in self._active.values():
            self._drain(active)
        return [active.task for active in self._active.values()]

    def _drain(self, active: ActiveRun) -> None:
        self.drained[active.run.run_id] = active.run.state.epoch
        active.control.request_drain()
