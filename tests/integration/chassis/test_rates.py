"""Rates of calls that several servers count in one Redis, and what happens while it does not answer."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import grpc
import sqlalchemy as sa
from graphmesh_chaos.tcp_proxy import TcpProxy, tcp_proxy
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, RateLimited
from graphmesh_chassis.rate_windows import RedisWindows
from graphmesh_chassis.rates import RateLimit, Rates
from graphmesh_chassis.settings import SecretUrl, ServerSettings
from graphmesh_chassis.testing import Served
from graphmesh_contracts import Overrides, Rate
from redis.asyncio import Redis

from tests.integration.chassis.probe import NAME, Answer, Probe, Question, probing

CALLERS = 500
PATIENT = 60.0
"""Seconds in which Redis answers on any machine."""


async def answer(question: Any, context: Any) -> Any:
    return Answer(number=question.number)


def settings(redis_url: str = "", **policy: Any) -> ServerSettings:
    methods = policy.pop("methods", {"Ask": {"timeout": "60s"}})
    service = {"max_concurrency": 64, "max_queue": 2000, **policy}
    return ServerSettings(
        policy=Overrides(service=service, methods=methods), redis_url=SecretUrl(redis_url), rate_answer_seconds=PATIENT
    )


def new_tenant() -> str:
    return f"t-{uuid4().hex[:12]}"


def of_tenant(calls: int, period: int, *, fails_closed: bool = False) -> RateLimit:
    return RateLimit("tenant", ("tenant", "probe", new_tenant()), Rate(calls, period, fails_closed))


async def is_admitted(rates: Rates, limit: RateLimit) -> bool:
    try:
        await rates.admit([limit])
    except RateLimited:
        return False
    return True


async def until_shared(rates: Rates) -> None:
    async with asyncio.timeout(60):
        while not await is_admitted(rates, of_tenant(1, 3600, fails_closed=True)):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def stoppable(redis_url: str) -> AsyncIterator[tuple[str, TcpProxy]]:
    """Yield the URL of a proxy to a Redis, and the proxy."""
    target = sa.make_url(redis_url)
    async with tcp_proxy(target.host or "", target.port or 6379) as proxy:
        yield target.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False), proxy


async def ask(served: Served, tenant: str, client: str = "") -> str:
    """Return the reason of the refusal; empty where the call was answered."""
    headers = {"x-graphmesh-tenant": tenant} | ({"x-graphmesh-client": client} if client else {})
    try:
        await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60), headers=list(headers.items()))
    except GraphmeshError as error:
        return error.reason
    return ""


async def outcomes(served: Sequence[Served], calls: int, tenant: str) -> list[str]:
    """Return the outcomes of calls that are made at once, of equally many to each server."""
    return list(await asyncio.gather(*(ask(served[number % len(served)], tenant) for number in range(calls))))


async def test_limit_is_exact_over_two_servers(redis_url: str) -> None:
    """500 calls at once to two processes' worth of servers: exactly as many as the rate are answered."""
    tenant, limited = new_tenant(), settings(redis_url, tenant_rate={"calls": 200, "period": "3600s"})
    async with probing({"Ask": answer}, limited) as first, probing({"Ask": answer}, limited) as second:
        found = await outcomes([first, second], CALLERS, tenant)
        assert (found.count(""), found.count("RATE_LIMITED")) == (200, 300)
        assert await outcomes([first], 3, new_tenant()) == [""] * 3


async def test_no_window_over_two_processes_has_more_calls(redis_url: str) -> None:
    """500 callers retry until three and a half windows are full, which takes three periods at least."""
    limit = of_tenant(calls=100, period=1)
    processes = [Rates(RedisWindows(redis_url, PATIENT)) for _ in range(2)]
    chance, admitted, began = random.Random(7), 0, time.monotonic()

    async def call_until_the_end(rates: Rates) -> None:
        nonlocal admitted
        while admitted < 350:
            try:
                await rates.admit([limit])
                admitted += 1
            except RateLimited as refusal:
                await asyncio.sleep((refusal.retry_after or 0) + chance.random() / 100)

    await asyncio.gather(*(call_until_the_end(processes[number % 2]) for number in range(CALLERS)))
    elapsed = time.monotonic() - began
    for rates in processes:
        assert rates.is_shared
        await rates.close()
    assert admitted <= 100 * (int(elapsed) + 1)


async def test_windows_in_redis_expire(redis_url: str) -> None:
    """A tenant that has left takes no memory after its window."""
    windows, tenant = RedisWindows(redis_url, PATIENT), new_tenant()
    assert await windows.admits(tenant, 10, 3600)
    async with Redis.from_url(redis_url) as redis:
        [key] = [one async for one in redis.scan_iter(f"*{tenant}*")]
        assert 3500 < await redis.ttl(key) <= 3600
        for _ in range(20):
            await windows.admits(tenant, 10, 3600)
        assert await redis.llen(key) == 10
    await windows.close()


async def test_a_silent_redis_delays_calls_once(redis_url: str) -> None:
    """Calls that wait for it end soon; later ones do not wait. When it answers again, rates are shared again."""
    async with stoppable(redis_url) as (url, proxy):
        rates, opens, closes = Rates(RedisWindows(url)), of_tenant(2, 3600), of_tenant(2, 3600, fails_closed=True)
        await until_shared(rates)
        rates.without_redis.clear()
        proxy.partition()
        refused = await asyncio.gather(*(rates.admit([closes]) for _ in range(100)), return_exceptions=True)
        assert [getattr(one, "retry_after", None) for one in refused] == [0.5] * 100
        assert not rates.is_shared
        assert [await is_admitted(rates, opens) for _ in range(4)] == [True, True, False, False]
        assert rates.without_redis == {"closed": 100, "open": 3}
        proxy.heal()
        await until_shared(rates)
        await rates.close()


async def test_http_gets_the_headers_of_a_refusal() -> None:
    """The fields of the IETF's draft, and Retry-After; a client of gRPC has them as trailers."""
    tenant, limited = new_tenant(), settings(methods={"Ask": {"tenantRate": {"calls": 1, "period": "3600s"}}})
    async with probing({"Ask": answer}, limited) as served:
        assert await ask(served, tenant) == ""
        async with grpc.aio.insecure_channel(served.address) as channel:
            stub: Any = channel.unary_unary(f"/{NAME}/Ask")
            call = stub(b"", metadata=[("x-graphmesh-tenant", tenant)])
            trailers = dict(await call.trailing_metadata() or ())
    seconds = int(trailers["retry-after"])
    assert 3500 < seconds <= 3600
    assert trailers["ratelimit-policy"] == '"method";q=1;w=3600'
    assert trailers["ratelimit"] == f'"method";r=0;t={seconds}'


async def test_clients_of_a_tenant_have_rates_of_their_own() -> None:
    tenant, limited = new_tenant(), settings(client_rate={"calls": 2, "period": "3600s"})
    async with probing({"Ask": answer}, limited) as served:
        assert [await ask(served, tenant, "web") for _ in range(3)] == ["", "", "RATE_LIMITED"]
        assert await ask(served, tenant, "phone") == ""
        assert await ask(served, new_tenant(), "web") == ""
