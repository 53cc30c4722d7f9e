"""A LangGraph project: its `langgraph.json`, in the form of LangGraph's own command line.

https://docs.langchain.com/langsmith/cli#configuration-file documents the keys. A key that is not honoured is refused.
"""

import json
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import structlog
from dotenv import dotenv_values
from graphmesh_chassis.settings import BadSetting
from langgraph.store.base import TTLConfig
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from graphmesh_orchestrator.project_requirements import Requirements, UnreadableRequirements, requirements_of

NOT_HONOURED = {
    "auth": "callers are identified at the edge",
    "checkpointer": "the orchestrator stores checkpoints in its own database",
    "encryption": "values are stored as they are",
    "http": "the orchestrator serves its own API only",
    "mcp": "the orchestrator serves its own API only",
    "node_version": "graphs are Python modules",
    "ui": "there is no user interface",
    "ui_config": "there is no user interface",
    "webhooks": "webhooks are configured by the settings of the orchestrator",
}
"""Keys that would change how graphs run or who may call them, with the reason why they are refused."""
IMAGE_KEYS = frozenset(
    (
        "$schema",
        "api_version",
        "base_image",
        "dockerfile_lines",
        "image_distro",
        "internal_docker_tag",
        "keep_pkg_tools",
        "pip_config_file",
        "pip_installer",
    )
)
"""Keys of the image that LangGraph's command line builds, and of editors. No image is built here: each is logged."""
OWN_SETTINGS = "GRAPHMESH_"
GRAPH_NAME = r"^[A-Za-z0-9]([A-Za-z0-9 _.-]{0,62}[A-Za-z0-9_.-])?$"
"""As in the contracts."""
log = structlog.get_logger("graphmesh.orchestrator.project")


class ProjectError(BadSetting):
    """A langgraph.json, or what it names, cannot be used. The message has the file, the key and the rule."""


class GraphEntry(BaseModel):
    """Where a graph is."""

    model_config = ConfigDict(extra="forbid")

    path: str
    """`./file.py:variable` or `package.module:variable`."""
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_path(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given

    @property
    def source(self) -> str:
        """The file or the module."""
        return self.path.rpartition(":")[0] or self.path

    @property
    def variable(self) -> str:
        return self.path.rpartition(":")[2] if ":" in self.path else "graph"

    @property
    def is_file(self) -> bool:
        return self.source.endswith(".py") or "/" in self.source


class TtlOptions(BaseModel):
    """When items of the store expire, as `TTLConfig` of LangGraph."""

    model_config = ConfigDict(extra="forbid")

    default_ttl: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """In minutes."""
    refresh_on_read: bool = True
    omit_expired: Literal[True] = True
    """Expired items are never returned."""
    sweep_interval_minutes: int | None = Field(default=None, ge=1)
    """The longest interval in which expired items are deleted; they are deleted every minute."""


class IndexOptions(BaseModel):
    """The vectors of items of the store, as `IndexConfig` of LangGraph."""

    model_config = ConfigDict(extra="forbid")

    embed: str
    """`provider:model`, or `./file.py:variable` of embeddings or of a function."""
    dims: int = Field(gt=0, le=16_384)
    fields: list[str] = ["$"]


class StoreOptions(BaseModel):
    """The store of the graphs."""

    model_config = ConfigDict(extra="forbid")

    ttl: TtlOptions | None = None
    index: IndexOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_null(cls, given: Any) -> Any:
        return given or {}

    @property
    def ttl_config(self) -> TTLConfig | None:
        if self.ttl is None:
            return None
        return {"default_ttl": self.ttl.default_ttl, "refresh_on_read": self.ttl.refresh_on_read}


class Project(BaseModel):
    """The honoured keys of a langgraph.json."""

    model_config = ConfigDict(extra="forbid")

    file: Path
    graphs: dict[Annotated[str, Field(pattern=GRAPH_NAME)], GraphEntry] = Field(min_length=1)
    dependencies: list[str] = []
    env_file: Path | None = None
    """The file that `env` names."""
    env: dict[str, str] = {}
    python_version: str = ""
    store: StoreOptions = StoreOptions()
    image: dict[str, Any] = {}
    """The keys of an image, which do not apply."""
    left_out: frozenset[str] = frozenset()
    """Keys that are not honoured, without which the operator wants the graphs to run."""

    @field_validator("env", mode="before")
    @classmethod
    def _of_file(cls, given: Any, info: Any) -> Any:
        if not isinstance(given, str):
            return given
        path = info.data["file"].parent / given
        return {name: value or "" for name, value in dotenv_values(path).items()} if path.is_file() else {}

    @field_validator("env")
    @classmethod
    def _is_of_graphs(cls, env: dict[str, str]) -> dict[str, str]:
        if own := sorted(name for name in env if name.startswith(OWN_SETTINGS)):
            raise ValueError(f"{', '.join(own)} is a setting of graphmesh: set it in the environment of its process")
        return env

    @field_validator("python_version")
    @classmethod
    def _is_provided(cls, version: str) -> str:
        running = Version("{}.{}".format(*sys.version_info))
        try:
            if Version(version) > running:
                raise ValueError(f"is {version}, and graphmesh runs on Python {running}")
        except InvalidVersion as error:
            raise ValueError(f"{version!r} is not a version such as 3.12") from error
        return version

    @classmethod
    def read(cls, path: Path, without: Collection[str] = ()) -> Self:
        """Read and check a langgraph.json.

        Args:
            without: keys that are not honoured, without which the graphs are to run.

        Raises:
            ProjectError: it is missing, is no JSON, or has a key or value that is not honoured.
        """
        try:
            text = path.read_text()
            given = json.loads(text)
        except OSError as error:
            raise ProjectError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise ProjectError(f"{path}: is no JSON: {error}") from error
        if not isinstance(given, dict):
            raise ProjectError(f"{path}: is not a JSON object")
        left_out = {key for key in NOT_HONOURED.keys() & given.keys() if given.pop(key)}
        for key in sorted(left_out.difference(without)):
            rule = f"{NOT_HONOURED[key]}; to run the graphs without it: graphmesh up --without {key}"
            raise ProjectError(f"{path}: {key} is not supported: {rule}")
        image = {key: given.pop(key) for key in IMAGE_KEYS & given.keys()}
        own = {"file": path.resolve(), "image": image, "left_out": left_out}
        if isinstance(given.get("env"), str):
            own["env_file"] = path.resolve().parent / given["env"]
        try:
            return cls.model_validate({**own, **given})
        except ValidationError as error:
            raise ProjectError(f"{path}: {_first(error, text)}") from error

    def enter(self) -> None:
        """Let the process import the project's modules, with its variables; those of the process itself win.

        Raises:
            ProjectError: a dependency is not installed.
        """
        for notice in self.notices:
            log.warning(notice)
        if missing := self.requirements.unmet():
            packages = " ".join(f"'{one}'" for one in missing)
            raise ProjectError(
                f"{self.file}: dependencies: not installed where the orchestrator runs: {', '.join(missing)}; "
                f"install them with: uv pip install --python {sys.executable} {packages}"
            )
        for root in map(str, self.roots):
            if root not in sys.path:
                sys.path.insert(0, root)
        for name, value in self.env.items():
            os.environ.setdefault(name, value)

    @property
    def notices(self) -> list[str]:
        """What of the file has no effect, as sentences."""
        notices = [f"{self.file}: the graphs run without {key}" for key in sorted(self.left_out)]
        if self.env_file and not self.env_file.is_file():
            notices.append(f"{self.file}: env: there is no file {self.env_file}: its variables are not set")
        return notices

    @property
    def roots(self) -> list[Path]:
        """The folders of its modules, the last one to be searched first. Raises ProjectError as `enter`."""
        folders = reversed([self.file.parent, *self._folders()])
        roots = [root for folder in folders for root in (folder.resolve(), folder.resolve() / "src")]
        return [root for root in dict.fromkeys(roots) if root.is_dir()]

    @property
    def packages(self) -> set[str]:
        """The packages of the graphs that are named by a module, and not by a file."""
        return {entry.source.partition(".")[0] for entry in self.graphs.values() if not entry.is_file}

    def _folders(self) -> list[Path]:
        """Return the dependencies that are folders. Raises ProjectError where there is none."""
        folders = [self.file.parent / one.partition("[")[0] for one in self.dependencies if one.startswith(".")]
        for folder in folders:
            if not folder.is_dir():
                raise ProjectError(f"{self.file}: dependencies: there is no folder {folder}")
        return folders

    @property
    def requirements(self) -> Requirements:
        """Raises ProjectError: they cannot be read."""
        self._folders()
        try:
            return requirements_of(self.dependencies, self.file.parent)
        except UnreadableRequirements as error:
            raise ProjectError(f"{self.file}: dependencies: {error}") from error


def _first(error: ValidationError, text: str) -> str:
    """Return the first problem of a file's text, with the line of its key."""
    [found, *_] = error.errors(include_url=False)
    path = _line_of(found["loc"], text) + ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return f"{path} is not a known key"
    if found["type"] == "missing":
        return f"{path} is required"
    return f"{path}: {found['msg'].removeprefix('Value error, ')}"


def _line_of(location: tuple[int | str, ...], text: str) -> str:
    """Return the line of a key, behind those of the keys around it; empty where the text does not have it."""
    position = 0
    for key in location:
        position = max(position, text.find(json.dumps(key), position) if isinstance(key, str) else position)
    return f"line {text.count(chr(10), 0, position) + 1}: " if position else ""
