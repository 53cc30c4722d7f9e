"""The hook that counts each call for the rates that policies declare."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from google.protobuf.descriptor import ServiceDescriptor
from graphmesh_contracts import Overrides, Rate, ServicePolicy, method_policy
from pydantic import SecretStr

from graphmesh_chassis.calls import Call
from graphmesh_chassis.hooks import Hook, Proceed
from graphmesh_chassis.settings import reveal

if TYPE_CHECKING:
    from graphmesh_chassis.rates import Rates


def rated_services(
    services: Iterable[ServiceDescriptor], policies: Mapping[str, ServicePolicy], overrides: Overrides
) -> frozenset[str]:
    """Return the full names of the services that have a rate, or a method with one."""

    def declared(service: ServiceDescriptor) -> Iterator[Rate | None]:
        yield from (policies[service.full_name].tenant_rate, policies[service.full_name].client_rate)
        yield from (method_policy(method, overrides).tenant_rate for method in service.methods)

    return frozenset(service.full_name for service in services if any(declared(service)))


def open_rates(redis_url: str | SecretStr, answer_seconds: float) -> "Rates":
    """Return rates that are counted in Redis, or by this process alone without its URL."""
    from graphmesh_chassis.rate_windows import RedisWindows  # half a second, which only servers with rates take
    from graphmesh_chassis.rates import Rates

    return Rates(RedisWindows(reveal(redis_url), answer_seconds) if redis_url else None)


def rated(server: str, policy: ServicePolicy, rates: "Rates") -> Hook:
    """A hook that counts a call for the rates of its tenant, its client and its method.

    The services of a process that declare equal rates of tenants share them: `server` is the name of the process.
    """
    from graphmesh_chassis.rates import RateLimit

    async def rated(proceed: Proceed, call: Call) -> None:
        tenant, limits = call.caller.tenant, []
        if policy.tenant_rate:
            limits.append(RateLimit("tenant", ("tenant", server, tenant), policy.tenant_rate))
        if policy.client_rate:
            key = ("client", server, tenant, call.caller.client)
            limits.append(RateLimit("client", key, policy.client_rate))
        if call.policy.tenant_rate:
            limits.append(RateLimit("method", ("method", call.path, tenant), call.policy.tenant_rate))
        await rates.admit(limits)
        await proceed(call)

    return rated
