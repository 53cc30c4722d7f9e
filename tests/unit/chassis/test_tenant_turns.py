"""Where an event loop is overloaded, tenants take turns on it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from graphmesh_chassis.admission import Admission
from graphmesh_chassis.tenant_turns import CALM_SECONDS, CURRENT_TENANT, OVERLOAD_SECONDS, TenantTurns, urgent

STEP_SECONDS = 0.001
HOSTILE_TASKS = 100
STEPS = 20


class Clock:
    """A clock that each reading advances a little, and each step of a task by some time."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 1e-5
        return self.time


class Load:
    """Tasks of many steps, each of which takes some time of the loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.steps = 0

    async def work(self, steps: int) -> None:
        for _ in range(steps):
            self._clock.time += STEP_SECONDS
            self.steps += 1
            await asyncio.sleep(0)


async def overloaded(tenants: tuple[str, ...], task: Callable[[Load], Awaitable[None]]) -> tuple[Load, TenantTurns]:
    """Execute a task of the last tenant beside many tasks of the first one, in a loop that is overloaded by these."""
    clock = Clock()
    turns, load = TenantTurns(asyncio.get_running_loop(), clock), Load(clock)
    CURRENT_TENANT.set(tenants[0])
    others = [asyncio.create_task(load.work(1_000)) for _ in range(HOSTILE_TASKS)]
    for _ in range(5):
        for tenant in tenants:
            turns.begin(tenant)
        await asyncio.sleep(0)
    CURRENT_TENANT.set(tenants[-1])
    load.steps = 0
    try:
        await asyncio.create_task(task(load))  # type: ignore[arg-type]
    finally:
        for other in others:
            other.cancel()
        vars(asyncio.get_running_loop()).pop("call_soon", None)
    return load, turns


async def few_steps(load: Load) -> None:
    for _ in range(STEPS):
        await asyncio.sleep(0)


async def test_few_steps_of_a_tenant_do_not_wait_for_all_of_another() -> None:
    load, _ = await overloaded(("hostile", "watcher"), few_steps)
    assert load.steps <= 3 * STEPS


async def test_one_tenant_alone_has_no_queue() -> None:
    load, turns = await overloaded(("hostile", "hostile"), few_steps)
    assert not turns.is_overloaded
    assert load.steps >= (STEPS - 1) * HOSTILE_TASKS


@pytest.mark.parametrize(("beside", "is_overloaded"), [("watcher", True), ("", False)])
async def test_work_of_no_tenant_is_none_of_a_second_one(beside: str, is_overloaded: bool) -> None:
    """Health checks have no tenant: a service of one tenant would take turns on each busy machine, by polling."""
    clock = Clock()
    turns = TenantTurns(asyncio.get_running_loop(), clock)
    turns.begin("hostile")
    await asyncio.sleep(0)
    clock.time += 2 * CALM_SECONDS
    for tenant in (beside, "hostile"):
        turns.begin(tenant)
    clock.time += 2 * OVERLOAD_SECONDS
    await asyncio.sleep(0)
    assert turns.is_overloaded is is_overloaded
    vars(asyncio.get_running_loop()).pop("call_soon", None)


async def steps_meanwhile(load: Load) -> int:
    """Do a few steps, and return how many steps of others there were between them."""
    load.steps = 0
    await few_steps(load)
    return load.steps


async def test_task_that_holds_what_others_wait_for_continues_at_once() -> None:
    steps = 0

    async def hold(load: Load) -> None:
        nonlocal steps
        with urgent():
            await asyncio.sleep(0)
            steps = await steps_meanwhile(load)

    await overloaded(("hostile", "watcher", "hostile"), hold)
    assert steps <= 3 * STEPS


@pytest.mark.parametrize("waiting", ["watcher", "hostile"])
async def test_task_whose_slot_another_tenant_waits_for_continues_at_once(waiting: str) -> None:
    steps = 0

    async def hold(load: Load) -> None:
        nonlocal steps
        admission = Admission(1, 1)
        async with admission.part("hostile"):
            queued = asyncio.create_task(enter(admission))
            while not admission.queued:
                await asyncio.sleep(0)
            steps = await steps_meanwhile(load)
        await queued

    async def enter(admission: Admission) -> None:
        async with admission.part(waiting):
            pass

    await overloaded(("hostile", "watcher", "hostile"), hold)
    assert (steps <= 3 * STEPS) is (waiting == "watcher")


async def test_queued_tenants_wait_for_the_acceptance_of_calls() -> None:
    """A call has no tenant until it is accepted, which takes steps with pauses; then its own turn may be the next."""

    async def accept(load: Load) -> None:
        for _ in range(STEPS):
            await asyncio.sleep(1e-9)

    load, _ = await overloaded(("hostile", "watcher", ""), accept)
    assert load.steps <= STEPS / 2


async def test_queued_tenants_advance_beside_others_that_work_all_the_time() -> None:
    async def busy(load: Load) -> None:
        for _ in range(1_000):
            await asyncio.sleep(0)

    load, _ = await overloaded(("hostile", "watcher"), busy)
    assert load.steps > 10


async def test_cancelled_callback_is_not_called() -> None:
    called: list[str] = []

    async def cancel(load: Load) -> None:
        asyncio.get_running_loop().call_soon(called.append, "cancelled").cancel()
        asyncio.get_running_loop().call_soon(called.append, "called")
        for _ in range(5 * HOSTILE_TASKS):
            await asyncio.sleep(0)

    await overloaded(("other", "hostile"), cancel)
    assert called == ["called"]


def test_exit_within_a_turn_loses_no_callback() -> None:
    async def leave(_: Load) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit), asyncio.Runner() as runner:
        runner.run(overloaded(("other", "hostile"), leave))
