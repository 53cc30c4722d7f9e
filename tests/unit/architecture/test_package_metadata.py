"""Every package of the workspace carries the metadata and the license that a wheel of it needs."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
MEMBERS = sorted(path.parent for pattern in WORKSPACE for path in ROOT.glob(f"{pattern}/pyproject.toml"))
STATED = ("description", "keywords", "classifiers", "requires-python")


def pyproject(member: Path) -> dict[str, Any]:
    return tomllib.loads((member / "pyproject.toml").read_text())


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: str(member.relative_to(ROOT)))
def test_metadata_is_complete(member: Path) -> None:
    project = pyproject(member)["project"]
    assert all(project.get(key) for key in STATED)
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert project["authors"] == [{"name": "The graphmesh authors"}]
    assert (member / project["readme"]).read_text().startswith(f"# {project['name']}\n")


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: str(member.relative_to(ROOT)))
def test_license_is_the_one_of_the_repository(member: Path) -> None:
    assert (member / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: str(member.relative_to(ROOT)))
def test_version_comes_from_the_tags_of_the_repository(member: Path) -> None:
    file = pyproject(member)
    version = file["tool"]["hatch"]["version"]
    assert file["project"]["dynamic"] == ["version"]
    assert version == {
        "source": "vcs",
        "fallback-version": "0.0.0",
        "raw-options": {"search_parent_directories": True},
    }


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: str(member.relative_to(ROOT)))
def test_wheel_needs_its_siblings_in_its_own_version(member: Path) -> None:
    """Wheels of two versions do not work together: the contracts of one are newer than those of the other."""
    file = pyproject(member)
    groups = [file["project"].get("dependencies", []), *file["project"].get("optional-dependencies", {}).values()]
    if any(dependency.startswith("graphmesh-") for group in groups for dependency in group):
        assert file["tool"]["hatch"]["metadata"]["hooks"]["cada"] == {"strategy": "pin"}
        assert any(requirement.startswith("hatch-cada") for requirement in file["build-system"]["requires"])


def test_lock_takes_every_sibling_from_the_workspace() -> None:
    """A sibling by its version would need a new lock after each commit."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    required = [one for package in packages for one in package.get("metadata", {}).get("requires-dist", [])]
    siblings = [one for one in required if one["name"].startswith("graphmesh-")]
    assert siblings
    assert all("editable" in one for one in siblings)


def test_package_of_graph_authors_has_prebuilt_agents_as_an_extra() -> None:
    """Graphs without them need no LangChain, of which the middleware of the guardrails alone makes use."""
    project = pyproject(ROOT / "orchestrator" / "nodes")["project"]
    assert [one.partition(">")[0] for one in project["optional-dependencies"]["agents"]] == ["langchain"]
    modules = (ROOT / "orchestrator" / "nodes" / "graphmesh_nodes").rglob("*.py")
    assert {path.name for path in modules if "from langchain." in path.read_text()} == {"middleware.py"}
