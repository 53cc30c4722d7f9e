"""Graphs import graphmesh_nodes and the contracts, and nothing else of this repository."""

from pathlib import Path

import pytest

from tests.unit.architecture.imports import imported_modules

ROOT = Path(__file__).parents[3]
MODULES = sorted([*ROOT.glob("orchestrator/graphs/**/*.py"), *ROOT.glob("tools/chaos/graphmesh_chaos/graphs/*.py")])
SURFACE = {"graphmesh_nodes", "graphmesh_nodes.errors"}
GUARDRAILS = "graphmesh_nodes.guardrails."
"""Each module of the guardrails is for graph authors."""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_graphs_import_the_surface_of_graphmesh_nodes_alone(module: Path) -> None:
    ours = {name for name in imported_modules(module.read_text()) if name.startswith("graphmesh_")}
    own_package = {name for name in ours if name.partition(".")[0] in module.parts}
    others = {name for name in ours - own_package if not name.startswith(GUARDRAILS)}
    assert others - {"graphmesh_contracts"} <= SURFACE
