"""The faults of links, as conditions of their proxies."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from graphmesh_chaos.schedule import Fault, FaultKind
from graphmesh_chaos.tcp_proxy import Blocked, Condition, Lossy, Slow, TcpProxy

DRIP = Slow(latency=0.5, bytes_per_second=1000, segment_bytes=4)
SLOW = Slow(latency=0.05, bytes_per_second=200_000)
LOST_SHARE = 0.1
SETTINGS = {"GRAPHMESH_ORCHESTRATOR_MAX_TAKEOVERS": "1000"}
"""Environment variables of the servers: a run of a worker that is cut off is taken over, which is not its own doing."""


@contextmanager
def faulty(link: TcpProxy, fault: Fault) -> Iterator[None]:
    """Give the link the conditions of the fault's kind while the body runs."""
    if fault.kind is FaultKind.HALF_DEAD:
        link.lose_connections()
    else:
        condition = _condition(fault)
        if fault.kind is not FaultKind.PARTITION_TO_CLIENT:
            link.to_server.change(condition)
        if fault.kind is not FaultKind.PARTITION_TO_SERVER:
            link.to_client.change(condition)
    try:
        yield
    finally:
        link.heal()


def _condition(fault: Fault) -> Condition:
    match fault.kind:
        case FaultKind.DRIP:
            return DRIP
        case FaultKind.SLOW:
            return SLOW
        case FaultKind.LOSS:
            return Lossy(LOST_SHARE, Random(f"{fault.target} {fault.at}"))
        case _:
            return Blocked()
