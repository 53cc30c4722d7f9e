"""The capacity of a worker is divided between tenants."""

import asyncio
from collections.abc import Collection, Sequence

from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.leases.claiming import RESERVED_SECONDS, Claiming
from graphmesh_orchestrator.leases.in_flight import ActiveRun, InFlight, Worker
from graphmesh_orchestrator.leases.leases import MemoryLeases
from graphmesh_orchestrator.leases.liveness import NoDeadWorkers
from graphmesh_orchestrator.runs.run import Run

from tests.unit.orchestrator.test_executor import a_run

GRAPH = "pay"
SERVED = [(GRAPH, 1)]
NEVER = 3600.0
CAPACITY = 40
RESERVED = 5


class Full:
    """A worker that a tenant with any number of runs has filled."""

    def __init__(self) -> None:
        self.in_flight = InFlight(Worker("one", CAPACITY))
        self.begun: list[ActiveRun] = []
        while self.begin("hostile"):
            pass

    def begin(self, tenant: str) -> bool:
        """Begin a new run, if this worker may hold it from the start."""
        if not self.in_flight.claimant(GRAPH, tenant):
            return False
        active = ActiveRun(a_run(run_id=f"run_{len(self.begun)}", tenant=tenant), "", self.in_flight.lease(0.0))
        self.in_flight.add(active)
        self.begun.append(active)
        return True

    def begin_claimed(self, run: Run, begun: float) -> None:
        """Begin no claimed run: none is."""

    def active(self, tenant: str) -> int:
        held = self.in_flight.held
        return sum(one.run.run_id in held and one.run.identity.tenant == tenant for one in self.begun)


def test_tenant_alone_leaves_an_eighth() -> None:
    full = Full()
    assert (full.active("hostile"), full.in_flight.free_capacity) == (CAPACITY - RESERVED, RESERVED)


def test_run_of_another_tenant_begins_at_once() -> None:
    full = Full()
    assert full.begin("watcher")


def test_further_tenants_share_the_rest() -> None:
    """None of them takes all of it."""
    full = Full()
    while full.begin("watcher"):
        pass
    assert full.active("watcher") == 3
    assert full.begin("other")
    assert not full.begin("hostile")


def test_new_run_does_not_overtake_pending_ones() -> None:
    """They are claimed in turns of the tenants, once there is capacity."""
    full = Full()
    assert full.in_flight.remove(full.begun[0])
    assert not full.begin("hostile")
    assert full.begin("watcher")
    full.in_flight.none_pending()
    full.in_flight.remove(full.begun[1])
    assert full.begin("hostile")


class RecordedLeases(MemoryLeases):
    """Leases that record which claims are made, and claim nothing."""

    def __init__(self) -> None:
        super().__init__(MemoryTables(), "one")
        self.claims: list[tuple[int, Collection[str]]] = []

    async def claim(
        self,
        served: Sequence[tuple[str, int]],
        limit: int,
        dead: Collection[str] = (),
        without: Collection[str] = (),
    ) -> Sequence[Run]:
        self.claims.append((limit, without))
        return ()


async def test_rest_is_claimed_for_others_only_and_seldom() -> None:
    """A tenant with many runs notifies of each that is pending."""
    full, leases, now = Full(), RecordedLeases(), [0.0]
    claiming = Claiming(leases, SERVED, full.in_flight, NoDeadWorkers(), interval=NEVER, clock=lambda: now[0])
    task = asyncio.create_task(claiming.run(full.begin_claimed))
    counts = []
    for now[0] in (0.0, RESERVED_SECONDS / 2, RESERVED_SECONDS):
        claiming.poll()
        while claiming._awake.is_set():
            await asyncio.sleep(0)
        counts.append(len(leases.claims))
    task.cancel()
    assert (counts, leases.claims[0]) == ([1, 1, 2], (3, {"hostile"}))


async def test_capacity_that_no_pending_run_needs_is_free_for_new_ones() -> None:
    full, leases = Full(), RecordedLeases()
    full.in_flight.remove(full.begun[0])
    claiming = Claiming(leases, SERVED, full.in_flight, NoDeadWorkers(), interval=NEVER)
    task = asyncio.create_task(claiming.run(full.begin_claimed))
    while not leases.claims:
        await asyncio.sleep(0)
    task.cancel()
    assert leases.claims == [(1, ())]
    assert full.begin("hostile")
