"""The metrics of what graphs decide."""

from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.metrics import counter
from graphmesh_nodes.decisions import Decision, Escalated, RouteTaken, Validated

ROUTES = counter(
    "graphmesh.routes",
    "{route}",
    "Branches that conditional edges have taken, by the node before them and the nodes after them",
    (names.GRAPH, names.NODE, names.ROUTE),
)
CHECKS = counter(
    "graphmesh.checks",
    "{check}",
    "Results of the checks of graphs: `passed` or `failed`",
    (names.GRAPH, names.CHECK, names.END),
)
ESCALATIONS = counter(
    "graphmesh.escalations",
    "{escalation}",
    "Runs that a graph has handed over to a person, by its reason",
    (names.GRAPH, names.REASON),
)


def count_decision(graph: str, decision: Decision) -> None:
    match decision:
        case RouteTaken(node=node, destinations=destinations):
            ROUTES.add(1, {names.GRAPH: graph, names.NODE: node, names.ROUTE: ", ".join(destinations)})
        case Validated(check=check, faults=faults):
            CHECKS.add(1, {names.GRAPH: graph, names.CHECK: check, names.END: "failed" if faults else "passed"})
        case Escalated(reason=reason):
            ESCALATIONS.add(1, {names.GRAPH: graph, names.REASON: reason})
