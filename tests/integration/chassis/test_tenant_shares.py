"""One tenant fills a server with calls or with streams; another tenant's calls are all answered."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from graphmesh_chassis import metadata
from graphmesh_chassis.calls import current_call, working
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ConcurrencyLimit, GraphmeshError
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.tenant_turns import turns_of
from graphmesh_chassis.testing import Served
from graphmesh_contracts import Overrides

from tests.integration.chassis.probe import NAME, Answer, Probe, Question, probing

BUSY, OTHER = (((metadata.TENANT, tenant),) for tenant in ("busy", "other"))
SETTINGS = ServerSettings(
    policy=Overrides(
        service={"max_concurrency": 4, "max_queue": 40, "max_waits": 1000},
        methods={"Ask": {"timeout": "200s"}, "Count": {"timeout": "200s", "waits": True}},
    )
)
LONG = 200.0
AT_ONCE = 300


async def idle(question: Any, context: Any) -> AsyncIterator[Any]:
    """A stream whose only message is its first."""
    yield Answer()
    await asyncio.Event().wait()


async def work(question: Any, context: Any) -> Any:
    await asyncio.sleep(0.005)
    return Answer()


async def ask(served: Served, tenant: tuple[tuple[str, str], ...]) -> Any:
    return await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(LONG), headers=tenant)


class Streams:
    """Streams that are held until the end."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, count: int, tenant: tuple[tuple[str, str], ...]) -> list[GraphmeshError | None]:
        """Begin streams at once, and return the error of each that is refused; None: its first message came."""
        began: asyncio.Queue[GraphmeshError | None] = asyncio.Queue()
        self._tasks += [asyncio.create_task(self._hold(began, tenant)) for _ in range(count)]
        return [await began.get() for _ in range(count)]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hold(self, began: asyncio.Queue[GraphmeshError | None], tenant: tuple[tuple[str, str], ...]) -> None:
        try:
            async for _ in self._served.channel.stream(Probe.Count, Question(), deadline=None, headers=tenant):
                await began.put(None)
        except GraphmeshError as error:
            await began.put(error)


async def test_idle_streams_of_a_tenant_shut_no_other_out() -> None:
    """Of 4,200 streams of one tenant, half of the places are held and the rest is refused with the limit's name."""
    async with probing({"Ask": work, "Count": idle}, SETTINGS) as served:
        streams = Streams(served)
        outcomes = await streams.open(4200, BUSY)
        answers = await asyncio.gather(*(ask(served, OTHER) for _ in range(40)))
        others = await streams.open(200, OTHER)
        await streams.close()
        async with asyncio.timeout(LONG):
            while served.running.admissions[NAME].waits.active:
                await asyncio.sleep(0.01)
    refused = [outcome for outcome in outcomes if outcome]
    assert len(refused) == 3700
    for refusal in refused:
        assert isinstance(refusal, ConcurrencyLimit)
        assert refusal.data == {"max_waits": "1000", "held": "500"}
        assert refusal.retry_after
    assert (len(answers), others) == (40, [None] * 200)


async def test_the_work_of_streams_is_divided_between_tenants() -> None:
    """A stream reads before it waits. That of one tenant does not wait for those of another that began before it."""

    async def read_and_idle(question: Any, context: Any) -> AsyncIterator[Any]:
        async with working():
            order.append(current_call().caller.tenant)
            await asyncio.sleep(0.005)
        yield Answer()
        await asyncio.Event().wait()

    order: list[str] = []
    async with probing({"Ask": work, "Count": read_and_idle}, SETTINGS) as served:
        streams = Streams(served)
        busy = asyncio.create_task(streams.open(400, BUSY))
        async with asyncio.timeout(LONG):
            while len(order) < 10:
                await asyncio.sleep(0.001)
        before = len(order)
        others = await streams.open(1, OTHER)
        answer = await ask(served, OTHER)
        await busy
        await streams.close()
    assert (others, answer) == ([None], Answer())
    assert before <= order.index("other") < 400


async def test_a_flood_of_calls_of_a_tenant_shuts_no_other_out() -> None:
    """A hundred concurrent calls of one tenant keep the queue full; all calls of another one are answered."""

    async def flood(served: Served) -> int:
        refused = 0
        while True:
            try:
                await ask(served, BUSY)
            except ConcurrencyLimit:
                refused += 1
                await asyncio.sleep(0.01)
            if done.is_set():
                return refused

    done = asyncio.Event()
    async with probing({"Ask": work}, SETTINGS) as served:
        busy = [asyncio.create_task(flood(served)) for _ in range(100)]
        async with asyncio.timeout(LONG):
            while served.running.admissions[NAME].queued < 40:
                await asyncio.sleep(0.01)
            answers = [await ask(served, OTHER) for _ in range(30)]
            answers += await asyncio.gather(*(ask(served, OTHER) for _ in range(20)))
        done.set()
        refused = sum(await asyncio.gather(*busy))
    assert len(answers) == 50
    assert refused > 0


async def test_calls_at_once_of_a_tenant_are_not_all_executed_before_one_of_another() -> None:
    """gRPC accepts the calls of a method one after the other. Those of the first tenant wait once they are accepted.

    None of them ends before the other's call is answered. In turns of the loop alone, each would have had a step for
    every further one that is accepted.
    """

    begun, steps, answered = 0, 0, asyncio.Event()

    async def compute(question: Any, context: Any) -> Any:
        nonlocal begun, steps
        begun += 1
        while current_call().caller.tenant == "busy" and not answered.is_set():
            steps += 1
            end = time.thread_time() + 0.001
            while time.thread_time() < end:
                pass
            await asyncio.sleep(0)
        return Answer()

    def burst(calls: int) -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(ask(served, BUSY)) for _ in range(calls)]

    settings = ServerSettings(policy=Overrides(service={"max_concurrency": 1000}, methods={"Ask": {"timeout": "200s"}}))
    async with probing({"Ask": compute}, settings) as served:
        busy = burst(10)
        async with asyncio.timeout(LONG):
            while not turns_of(asyncio.get_running_loop()).is_overloaded:
                await ask(served, OTHER)
            begun, before = 0, steps
            busy += burst(AT_ONCE)
            while begun < 5:
                await asyncio.sleep(0.001)
        await ask(served, OTHER)
        taken = steps - before
        answered.set()
        await asyncio.gather(*busy)
    assert taken < AT_ONCE**2 / 4
