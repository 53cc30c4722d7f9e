"""A new service is added wherever `billing` is listed, and nothing else changes."""

import tomllib
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
import yaml
from graphmesh_cli.new_service.names import Names
from graphmesh_cli.new_service.registration import (
    UnexpectedLayout,
    add_to_lock,
    add_to_mesh,
    add_to_workspace,
    next_port,
)

ROOT = Path(__file__).parents[3]
MESH, WORKSPACE, LOCK = ((ROOT / name).read_text() for name in ("deploy/mesh.yaml", "pyproject.toml", "uv.lock"))
CARDS = Names.of("gift_cards")


def removed_lines(before: str, after: str) -> list[str]:
    return [line for line in ndiff(before.splitlines(), after.splitlines()) if line.startswith("- ")]


def test_adds_the_service_to_the_mesh_and_keeps_comments() -> None:
    added = add_to_mesh(MESH, CARDS, 5)
    assert removed_lines(MESH, added) == []
    assert yaml.safe_load(added)["services"]["gift_cards"] == {
        "service": "graphmesh.gift_cards.v1.GiftCardsService",
        "module": "graphmesh_gift_cards",
        "port": 5,
    }


def test_environments_override_it_like_the_last_service() -> None:
    """Overrides in one line and in several."""
    mesh = """
services:
  sql:
    port: 20500
    policy: {maxConcurrency: 4}
  # the end of the services

environments:
  staging:
    services:
      sql: # far away
        address: sql.staging
        replicas: 3

  production:
    services: {}
  other:
    edge: {port: 1}
    services:
      sql: {address: sql}
"""
    with pytest.raises(UnexpectedLayout, match="empty list"):
        add_to_mesh(mesh, CARDS, 20600)
    added = add_to_mesh(mesh.replace("    services: {}", "    edge: {}"), CARDS, 20600)
    environments = yaml.safe_load(added)["environments"]
    assert environments["staging"]["services"]["gift_cards"] == {"address": "gift_cards.staging", "replicas": 3}
    assert environments["other"]["services"]["gift_cards"] == {"address": "gift_cards"}
    assert "gift_cards: # far away" in added
    assert added.index("port: 20600") < added.index("# the end of the services")


def test_refuses_a_mesh_in_flow_style() -> None:
    with pytest.raises((UnexpectedLayout, yaml.YAMLError)):
        add_to_mesh("services: {sql: {port: 1}}\n", CARDS, 2)


def test_next_port_leaves_room_for_replicas() -> None:
    taken = {service["port"] for service in yaml.safe_load(MESH)["services"].values()}
    assert next_port(MESH) == max(taken) + 100


def test_adds_the_service_to_every_list_of_the_workspace() -> None:
    """These are the sources of the workspace, the paths of mypy and the contracts of import-linter."""
    added = add_to_workspace(add_to_workspace(WORKSPACE, CARDS), Names.of("orders"))
    before, after = tomllib.loads(WORKSPACE), tomllib.loads(added)
    assert {**before["tool"]["uv"]["sources"], "graphmesh-gift-cards": {"workspace": True}}.items() <= after["tool"][
        "uv"
    ]["sources"].items()
    for name, path in (("gift_cards", "services/gift_cards"), ("orders", "services/orders")):
        assert path in after["tool"]["mypy"]["mypy_path"]
        linter = after["tool"]["importlinter"]
        assert f"graphmesh_{name}" in linter["root_packages"]
        assert any(f"| graphmesh_{name} |" in layer for layer in linter["contracts"][0]["layers"])
    assert len(removed_lines(WORKSPACE, added)) == 1  # the line of the layers, which names them all


def test_locks_it_with_the_dependencies_of_billing() -> None:
    def package(lock: dict[str, Any], name: str) -> dict[str, Any]:
        return next(one for one in lock["package"] if one["name"] == name)

    before, added = tomllib.loads(LOCK), tomllib.loads(add_to_lock(LOCK, CARDS))
    assert added["manifest"]["members"] == sorted([*before["manifest"]["members"], "graphmesh-gift-cards"])
    assert package(added, "graphmesh-gift-cards") == {
        **package(before, "graphmesh-billing"),
        "name": "graphmesh-gift-cards",
        "source": {"editable": "services/gift_cards"},
    }
    assert [one for one in added["package"] if one["name"] != "graphmesh-gift-cards"] == before["package"]


def test_refuses_lists_without_billing() -> None:
    with pytest.raises(UnexpectedLayout):
        add_to_workspace("[tool.uv.sources]\n", CARDS)
    with pytest.raises(UnexpectedLayout):
        add_to_lock("version = 1\n", CARDS)
