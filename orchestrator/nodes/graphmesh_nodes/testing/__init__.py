"""Runs a graph in a unit test: twins of services, a fake clock, answers to questions, forced failures and crashes.

    async def test_refund_needs_approval() -> None:
        harness = GraphHarness(graph)
        harness.serve(BillingService.Refund, lambda request: RefundResponse(...))
        result = await harness.run({"charge_id": "ch_1", "amount": 1890})
        [approval] = result.approvals
        result = await harness.approve(approval)
        assert result.output["refund_id"] == "re_1"
        assert harness.calls(BillingService.Refund)[0].request.charge_id == "ch_1"

It needs neither a server nor a database, nor a particular test runner.
"""

from graphmesh_nodes.testing.errors import HarnessError, RunNotSuccessful
from graphmesh_nodes.testing.fake_clock import FakeClock
from graphmesh_nodes.testing.harness import GraphHarness
from graphmesh_nodes.testing.results import PendingApproval, Question, RunResult
from graphmesh_nodes.testing.twin_mesh import RecordedCall

__all__ = [
    "FakeClock",
    "GraphHarness",
    "HarnessError",
    "PendingApproval",
    "Question",
    "RecordedCall",
    "RunNotSuccessful",
    "RunResult",
]
