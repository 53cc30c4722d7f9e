"""What a project requires is read from its langgraph.json and its folders, and compared with what is installed."""

from importlib import metadata
from pathlib import Path

import pytest
from graphmesh_orchestrator.project_requirements import Requirements, UnreadableRequirements, requirements_of

PROJECT = """
[project]
name = "My_Agent"
version = "1"
dependencies = ["langgraph>=1", "no-such-package"]
[project.optional-dependencies]
cloud = ["no-cloud"]
all = ["my-agent[cloud]", "no-more"]
"""


def read(folder: Path, *dependencies: str, **files: str) -> Requirements:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return requirements_of(dependencies, folder)


@pytest.mark.parametrize(
    ("dependency", "unmet"),
    [
        (".", ["no-such-package"]),
        (".[cloud]", ["no-such-package", "no-cloud"]),
        ("./[ALL]", ["no-such-package", "no-more", "no-cloud"]),
        ("langgraph<1", ["langgraph<1"]),
        ("LangGraph>=1.0", []),
        ("no-such-package; python_version < '3'", []),
    ],
)
def test_packages_of_a_project_and_its_extras_are_compared(tmp_path: Path, dependency: str, unmet: list[str]) -> None:
    found = read(tmp_path, dependency, pyproject_toml=PROJECT)
    assert (found.are_listed, found.unmet()) == (True, unmet)


def test_requirements_of_installed_packages_are_compared_with_their_extras(tmp_path: Path) -> None:
    """httpx is installed, and what its extra `socks` needs is not."""
    assert read(tmp_path, "httpx").unmet() == []
    assert [one.partition("=")[0] for one in read(tmp_path, "httpx[socks]").unmet()] == ["socksio"]


def test_lines_of_a_file_are_packages(tmp_path: Path) -> None:
    found = read(tmp_path, ".", requirements_txt="# tools\nlanggraph  # graphs\n\nno-such-package==1\n")
    assert (found.packages, found.unmet()) == (["langgraph", "no-such-package==1"], ["no-such-package==1"])


@pytest.mark.parametrize("line", ["-r more.txt", "--index-url https://example.com", "./folder", "git+https://a/b.git"])
def test_file_with_more_than_packages_is_left_to_an_installer(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, ".", requirements_txt=f"langgraph\n{line}\n")
    assert (found.are_listed, found.files) == (False, [tmp_path / "requirements.txt"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup_py", "from setuptools import setup; setup()"),
        ("pyproject_toml", "[tool.poetry]\nname = 'a'"),
        ("pyproject_toml", "[project]\nname = 'a'\ndynamic = ['version', 'dependencies']"),
        ("pyproject_toml", "[project]\nname = 'a'\n[tool.uv.sources]\nb = {git = 'https://example.com'}"),
    ],
)
def test_folder_whose_build_states_its_requirements_is_left_to_an_installer(
    tmp_path: Path, name: str, text: str
) -> None:
    found = read(tmp_path, ".[x,y]", **{name: text})
    assert (found.are_listed, found.builds) == (False, [f"{tmp_path}[x,y]"])


def test_settings_of_tools_are_no_requirements(tmp_path: Path) -> None:
    found = read(tmp_path, ".", pyproject_toml="[tool.ruff]\nline-length = 100", requirements_txt="langgraph\n")
    assert found.packages == ["langgraph"]


@pytest.mark.parametrize(
    ("dependency", "project", "message"),
    [
        ("a b", "", "'a b' is not a requirement"),
        (".", "[project]\nname='a'\ndependencies=['a b']", r"pyproject\.toml: 'a b' is not a requirement"),
        (".", "[project", r"pyproject\.toml: cannot be read"),
        (".[none]", "[project]\nname='a'", "there is no extra none"),
    ],
)
def test_what_is_no_requirement_is_refused_by_name(tmp_path: Path, dependency: str, project: str, message: str) -> None:
    with pytest.raises(UnreadableRequirements, match=message):
        read(tmp_path, dependency, pyproject_toml=project)


def other_version(one: metadata.Distribution) -> str:
    return "999.0" if one.name == "graphmesh-protos" else str(one.metadata["Version"])


def test_versions_that_siblings_pin_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A working copy has each of our packages in the version of the commit at which it was installed."""
    monkeypatch.setattr(metadata.Distribution, "version", property(other_version))
    assert Requirements(packages=["graphmesh-nodes"]).unmet() == []
    assert Requirements(packages=["graphmesh-protos==1.0"]).unmet() == ["graphmesh-protos==1.0"]
