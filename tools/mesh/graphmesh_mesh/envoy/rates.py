"""Rate limits in Envoy: token buckets of services, tenants and client addresses."""

import math
from collections.abc import Mapping, Sequence

from graphmesh_contracts import RateLimit

from graphmesh_mesh.envoy.documents import (
    RATE_LIMIT,
    RESPONSE_FLAGS_HEADER,
    TENANT_HEADER,
    Document,
    headers,
    seconds,
    typed,
)
from graphmesh_mesh.service import Service
from graphmesh_mesh.topology import TenantRate

SHORTEST_FILL = 0.05
"""The shortest fill interval of Envoy, in seconds; others have to be multiples of it."""
UNLIMITED = RateLimit(calls=2**31, period=SHORTEST_FILL)
DEFAULT_TENANT = "default"
"""The tenant of a call without the header."""
TENANT_KEY = "tenant"
TENANT_ACTIONS: tuple[Document, ...] = (
    {"request_headers": {"header_name": TENANT_HEADER, "descriptor_key": TENANT_KEY, "skip_if_absent": False}},
    {
        "header_value_match": {
            "descriptor_key": TENANT_KEY,
            "descriptor_value": DEFAULT_TENANT,
            "expect_match": False,
            "headers": [{"name": TENANT_HEADER, "present_match": True}],
        }
    },
)
"""The actions of a route, of which one gives the tenant of a call: that of its header, or the default one."""
ADDRESS_KEY, ADDRESS = "masked_remote_address", {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}
HEALTH_CHECKS = RateLimit(calls=50, period=1.0)
"""The health checks of a client address, which need no token."""
MAX_BUCKETS = 10_000
"""The buckets of tenants, and of addresses, in each Envoy; above, the one that is unused for longest is dropped."""


def actions(limits: Sequence[Document]) -> list[Document]:
    """The rate limits of a route: each of them has one action, which gives a descriptor of a bucket."""
    return [{"actions": [one]} for one in limits]


def rate_limits(services: Mapping[str, Service], tenant_rate: TenantRate | None = None) -> Document:
    """A token bucket for each service that declares a rate limit and for each tenant, an unlimited one for all others.

    A refusal has the seconds until the next token in `x-ratelimit-reset`.
    """
    limited = {name: service.service_policy.rate_limit for name, service in services.items()}
    buckets = [({"key": "service", "value": name}, limit) for name, limit in limited.items() if limit]
    if tenant_rate:
        buckets.append(({"key": TENANT_KEY}, RateLimit(tenant_rate.calls, tenant_rate.period)))
    return {RATE_LIMIT: token_buckets(buckets)} if buckets else {}


def token_buckets(buckets: Sequence[tuple[Document, RateLimit]]) -> Document:
    """The configuration of the filter with a bucket for each descriptor; one without a value has one for each value."""
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return typed(
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="rate_limit",
        token_bucket=bucket(UNLIMITED),
        descriptors=[{"entries": [entry], "token_bucket": bucket(limit)} for entry, limit in buckets],
        max_dynamic_descriptors=MAX_BUCKETS,
        filter_enabled=always,
        filter_enforced=always,
        always_consume_default_token_bucket=False,
        rate_limited_as_resource_exhausted=True,
        enable_x_ratelimit_headers="DRAFT_VERSION_03",
        enable_retry_after_header=True,
        response_headers_to_add=headers({RESPONSE_FLAGS_HEADER: "RL"}),
    )


def bucket(limit: RateLimit) -> Document:
    """A token bucket that is filled in as many equal steps as Envoy can take, so that calls do not come in bursts."""
    ticks = limit.period / SHORTEST_FILL
    steps = math.gcd(limit.calls, round(ticks)) if math.isclose(ticks, round(ticks)) else 1
    per_fill = limit.calls // steps
    return {"max_tokens": limit.calls, "tokens_per_fill": per_fill, "fill_interval": seconds(limit.period / steps)}
