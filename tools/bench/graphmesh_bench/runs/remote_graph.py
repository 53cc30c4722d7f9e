"""The graph of seven nodes with remote nodes: seven calls a run, through Envoy.

All are reads, of a service that responds at once. An effect would also wait until the checkpoint of its node is stored,
which never happens without durability: that wait is in no measure.
"""

from typing import Any

from graphmesh_nodes import remote

from graphmesh_bench.runs.local_graphs import seven_nodes, update_of
from graphmesh_bench.server import CHASSIS, INVOICE_ID


def _remote_node(name: str) -> Any:
    return remote(
        CHASSIS,
        request=lambda state: CHASSIS.request(invoice_id=INVOICE_ID),
        update=lambda state, response: update_of(name),
    )


remote_graph = seven_nodes(_remote_node)
