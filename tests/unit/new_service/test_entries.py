"""Where the repository lists its services, a new one is listed like `billing`, and nothing else changes."""

import tomllib
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
import yaml
from graphmesh_cli.new_service.entries import Unlisted, in_lock, in_mesh, in_workspace, next_port
from graphmesh_cli.new_service.words import Words

ROOT = Path(__file__).parents[3]
MESH, WORKSPACE, LOCK = ((ROOT / name).read_text() for name in ("deploy/mesh.yaml", "pyproject.toml", "uv.lock"))
CARDS = Words.of("gift_cards")


def lines_lost(before: str, after: str) -> list[str]:
    return [line for line in ndiff(before.splitlines(), after.splitlines()) if line.startswith("- ")]


def test_the_mesh_keeps_its_comments_and_gets_the_service() -> None:
    made = in_mesh(MESH, CARDS, 5)
    assert lines_lost(MESH, made) == []
    assert yaml.safe_load(made)["services"]["gift_cards"] == {
        "service": "graphmesh.gift_cards.v1.GiftCardsService",
        "module": "graphmesh_gift_cards",
        "port": 5,
    }


def test_every_environment_says_of_it_what_it_says_of_the_last_service() -> None:
    """Whether it is written in one line or in several."""
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
    with pytest.raises(Unlisted, match="empty list"):
        in_mesh(mesh, CARDS, 20600)
    made = in_mesh(mesh.replace("    services: {}", "    edge: {}"), CARDS, 20600)
    environments = yaml.safe_load(made)["environments"]
    assert environments["staging"]["services"]["gift_cards"] == {"address": "gift_cards.staging", "replicas": 3}
    assert environments["other"]["services"]["gift_cards"] == {"address": "gift_cards"}
    assert "gift_cards: # far away" in made
    assert made.index("port: 20600") < made.index("# the end of the services")


def test_a_mesh_in_one_line_is_refused() -> None:
    with pytest.raises((Unlisted, yaml.YAMLError)):
        in_mesh("services: {sql: {port: 1}}\n", CARDS, 2)


def test_the_next_port_leaves_room_for_replicas() -> None:
    taken = {service["port"] for service in yaml.safe_load(MESH)["services"].values()}
    assert next_port(MESH) == max(taken) + 100


def test_the_workspace_lists_it_wherever_it_lists_billing() -> None:
    """As a source, for the types, and in the rules of imports; in a second run too, for a second service."""
    made = in_workspace(in_workspace(WORKSPACE, CARDS), Words.of("orders"))
    before, after = tomllib.loads(WORKSPACE), tomllib.loads(made)
    assert {**before["tool"]["uv"]["sources"], "graphmesh-gift-cards": {"workspace": True}}.items() <= after["tool"][
        "uv"
    ]["sources"].items()
    for name, path in (("gift_cards", "services/gift_cards"), ("orders", "services/orders")):
        assert path in after["tool"]["mypy"]["mypy_path"]
        linter = after["tool"]["importlinter"]
        assert f"graphmesh_{name}" in linter["root_packages"]
        assert any(f"| graphmesh_{name} |" in layer for layer in linter["contracts"][0]["layers"])
    assert len(lines_lost(WORKSPACE, made)) == 1  # the line of the layers, which names them all


def test_the_lock_has_it_with_the_dependencies_of_billing() -> None:
    def package(lock: dict[str, Any], name: str) -> dict[str, Any]:
        return next(one for one in lock["package"] if one["name"] == name)

    before, made = tomllib.loads(LOCK), tomllib.loads(in_lock(LOCK, CARDS))
    assert made["manifest"]["members"] == sorted([*before["manifest"]["members"], "graphmesh-gift-cards"])
    assert package(made, "graphmesh-gift-cards") == {
        **package(before, "graphmesh-billing"),
        "name": "graphmesh-gift-cards",
        "source": {"editable": "services/gift_cards"},
    }
    assert [one for one in made["package"] if one["name"] != "graphmesh-gift-cards"] == before["package"]


def test_lists_without_billing_are_not_guessed_at() -> None:
    with pytest.raises(Unlisted):
        in_workspace("[tool.uv.sources]\n", CARDS)
    with pytest.raises(Unlisted):
        in_lock("version = 1\n", CARDS)
