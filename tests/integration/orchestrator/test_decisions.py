"""Why a run went as it did: its routes with what they looked at, results of checks, escalations, and feedback."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import InvalidRequest, NotFound, ScopeMissing
from graphmesh_chassis.telemetry import metrics, names
from graphmesh_chassis.telemetry.metrics import Attributes, Instrument, Observe

from tests.integration.orchestrator.mesh import Mesh, serve_billing, serve_orchestrator
from tests.integration.orchestrator.test_audit import acts, log_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = Path(__file__).parent / "deciding_graph.py"
CARD = "4111 1111 1111 1111"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder = tmp_path_factory.mktemp("mesh")
    (folder / "deciding.py").write_text(GRAPH.read_text())
    async with serve_billing(folder) as billing, serve_orchestrator(folder, billing) as mesh:
        yield mesh


async def decisions(mesh: Mesh, **fields: Any) -> Sequence[pb.RunEvent]:
    """Return the decisions of a run in order."""
    run = await mesh.run("deciding", **{"text": "ink", "amount": 5, **fields})
    kinds = ("route_taken", "validated", "escalated")
    return [event for event in await mesh.events(run) if event.WhichOneof("event") in kinds]


def of_check(events: Sequence[pb.RunEvent]) -> pb.RouteTaken:
    """Return the route that was taken after the node `check`."""
    return next(event.route_taken for event in events if event.node == "check" and event.HasField("route_taken"))


def routes(events: Sequence[pb.RunEvent]) -> list[tuple[str, list[str]]]:
    return [(event.node, list(event.route_taken.destinations)) for event in events if event.HasField("route_taken")]


async def test_each_conditional_edge_records_its_branch(mesh: Mesh) -> None:
    """Also one that declares nothing, of a subgraph, with several destinations, and at the start and the end."""
    events = await decisions(mesh)
    assert routes(events) == [
        ("__start__", ["check"]),
        ("check", ["small"]),
        ("begin", ["part"]),
        ("small", ["__end__"]),
    ]
    [inner] = [event for event in events if event.node == "begin"]
    assert [level.partition(":")[0] for level in inner.namespace] == ["small"]
    assert (inner.route_taken.condition, dict(inner.route_taken.looked_at)) == ("each", {})


async def test_a_declared_condition_records_what_it_looked_at(mesh: Mesh) -> None:
    """A list by its length, a key that is absent as null, and a function that fails by the type of its error."""
    taken = of_check(await decisions(mesh))
    assert taken.condition == "after_check"
    assert dict(taken.looked_at) == {
        "amount": "5",
        "text": "ink",
        "notes": "[1]",
        "absent": "null",
        "high": "false",
        "bad": "[ValueError]",
    }


@pytest.mark.parametrize("text", [f"card {CARD}", "x" * 100_000, f"{'x' * 190}{CARD}", "🖋" * 9_000])
async def test_what_is_looked_at_is_redacted_and_bounded(mesh: Mesh, text: str) -> None:
    taken = of_check(await decisions(mesh, text=text))
    assert len(taken.looked_at["text"]) <= 200
    assert "4111" not in taken.looked_at["text"]


async def test_checks_and_escalations_are_events(mesh: Mesh) -> None:
    events = await decisions(mesh, amount=500)
    assert [(event.node, event.WhichOneof("event")) for event in events[1:]] == [
        ("check", "validated"),
        ("check", "route_taken"),
        ("hand_over", "escalated"),
    ]
    assert events[1].validated == pb.Validated(check="amount", faults=["too_high"])
    assert events[3].escalated == pb.Escalated(reason="too_high", to="accounting")
    assert (await decisions(mesh))[1].validated == pb.Validated(check="amount")


class Recorded:
    """The metrics that are recorded."""

    def __init__(self) -> None:
        self.values: list[tuple[str, float, Mapping[str, str]]] = []

    def add(self, instrument: Instrument, value: float, attributes: Attributes, /) -> None:
        self.values.append((instrument.name, value, attributes))

    def record(self, instrument: Instrument, value: float, attributes: Attributes, /) -> None:
        self.values.append((instrument.name, value, attributes))

    def observe(self, instrument: Instrument, observe: Observe, /) -> Callable[[], None]:
        """No gauge is read."""
        return lambda: None


async def test_decisions_and_feedback_are_metrics(mesh: Mesh) -> None:
    recorded = Recorded()
    metrics.use(recorded)
    try:
        run = await mesh.run("deciding", text="ink", amount=500)
        await mesh.client.record_feedback(run.run_id, 0.5)
    finally:
        metrics.use(None)
    graph = {names.GRAPH: "deciding"}
    for expected in (
        ("graphmesh.routes", 1, {**graph, names.NODE: "check", names.ROUTE: "hand_over"}),
        ("graphmesh.checks", 1, {**graph, names.CHECK: "amount", names.END: "failed"}),
        ("graphmesh.escalations", 1, {**graph, names.REASON: "too_high"}),
        ("graphmesh.feedback", 0.5, graph),
    ):
        assert expected in recorded.values


async def test_a_stream_of_updates_has_decisions(mesh: Mesh) -> None:
    run = await mesh.run("deciding", text="ink", amount=5)
    request = pb.StreamRunRequest(run_id=run.run_id, stream_modes=[pb.StreamMode.STREAM_MODE_UPDATES])
    shown = [response.event async for response in mesh.stream(pb.RunService.StreamRun, request)]
    assert len(routes(shown)) == 4


async def test_feedback_is_shown_with_the_run_and_audited(mesh: Mesh) -> None:
    """Without the personal data in its comment, for runs that have ended too, and once where it is repeated."""
    run = await mesh.run("deciding", text="ink", amount=5)
    request = pb.RecordFeedbackRequest(run_id=run.run_id, score=0.25, comment=f"charged {CARD}")
    for _ in range(2):
        await mesh.call(pb.RunService.RecordFeedback, request, subject="ann")
    await mesh.call(pb.RunService.RecordFeedback, pb.RecordFeedbackRequest(run_id=run.run_id, score=1), subject="bob")
    ann, bob = (await mesh.client.get_run(run.run_id)).feedback
    assert (ann.subject, ann.score, bob.subject, bob.score) == ("ann", 0.25, "bob", 1)
    assert ann.comment.startswith("charged [card:")
    assert "4111" not in ann.comment
    rows = await log_of(mesh, until=lambda rows: len(rows) > 1)
    assert acts(rows, "subject", "run", "detail") == [
        ("RecordFeedback", "ann", run.run_id, "score 0.25"),
        ("RecordFeedback", "bob", run.run_id, "score 1"),
    ]


async def test_feedback_is_refused_without_a_score_a_scope_or_the_tenant(mesh: Mesh) -> None:
    run = await mesh.run("deciding", text="ink", amount=5)
    for score in (None, 1.5, float("nan")):
        with pytest.raises(InvalidRequest, match="score"):
            await mesh.call(pb.RunService.RecordFeedback, pb.RecordFeedbackRequest(run_id=run.run_id, score=score))
    request = pb.RecordFeedbackRequest(run_id=run.run_id, score=0)
    with pytest.raises(ScopeMissing):
        await mesh.call(pb.RunService.RecordFeedback, request, scopes="runs.read")
    async with mesh.as_new_tenant() as other:
        with pytest.raises(NotFound):
            await other.call(pb.RunService.RecordFeedback, request)
    assert not (await mesh.client.get_run(run.run_id)).feedback
