"""The graph `working` with remote nodes in the place of its own: seven calls a run, through Envoy.

All are reads, of a service that answers at once. An effect would besides wait until the checkpoint that its node runs
from is stored, which with nothing durable it never is: that wait is in no figure.
"""

from typing import Any

from graphmesh_nodes import RunContext, remote

from graphmesh_bench.runs.graph import made_by, shaped
from graphmesh_bench.server import CHASSIS, INVOICE_ID


def _reading(name: str) -> Any:
    return remote(
        CHASSIS,
        request=lambda state: CHASSIS.request(invoice_id=INVOICE_ID),
        update=lambda state, response: made_by(name),
    )


calling = shaped(_reading, RunContext)
