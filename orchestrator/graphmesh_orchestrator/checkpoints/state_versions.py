"""Which versions of a graph made a state, and how an older state is brought up."""

import copy
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from google.protobuf.descriptor import FileDescriptor
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata

from graphmesh_orchestrator.errors import MigrationFailed, VersionUnavailable

GRAPH_VERSION = "graph_version"
"""In the metadata of a checkpoint."""
FIRST = 1
"""The version of a graph that states none, and of a checkpoint that records none."""
OURS = "graphmesh.orchestrator"
"""The orchestrator's own contract is no tool."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Channel values of one version in, those of the next out."""


@dataclass(frozen=True)
class Versions:
    """What a state is made by."""

    graph: int = FIRST
    """`VERSION` of the graph's module: its author raises it when states of before do not fit any more."""
    prompts: str = ""
    """A digest of the files in `prompts/` beside the module; empty where there are none."""
    tools: str = ""
    """A digest of the contracts of the tools that are imported."""

    def metadata(self) -> dict[str, Any]:
        """As every checkpoint records it."""
        return {GRAPH_VERSION: self.graph, "prompts_version": self.prompts, "tools_version": self.tools}

    def of_run(self) -> dict[str, Any]:
        """As a run records it: the columns by their names."""
        return {"graph_version": self.graph, "versions": {"prompts": self.prompts, "tools": self.tools}}


@dataclass(frozen=True)
class Lineage:
    """A version of a graph, and the older ones whose states it can go on from."""

    name: str = ""
    versions: Versions = Versions()
    migrations: Mapping[int, Migration] = field(default_factory=dict)
    """By the version that they begin with."""

    @property
    def served(self) -> list[int]:
        """The versions whose states it takes, its own first."""
        return list(self._served())

    def _served(self) -> Iterator[int]:
        version = self.versions.graph
        yield version
        while (version := version - 1) in self.migrations:
            yield version

    def require(self, recorded: int) -> None:
        """Raises VersionUnavailable where a state of that version is not taken."""
        if recorded not in self.served:
            served = ", ".join(map(str, self.served))
            raise VersionUnavailable(graph=self.name, version=recorded, served=served)

    def brought_up(self, checkpoint: Checkpoint, recorded: int) -> Checkpoint:
        """A checkpoint of an older version with its values migrated; LangGraph sees new channels as just written.

        Only the values: what tasks have written since, and what the nodes have seen, is as it was.

        Raises:
            MigrationFailed: a migration raised an error, or returned no dictionary.
        """
        before = checkpoint["channel_values"]
        values = self._migrated(before, recorded)
        known = checkpoint["channel_versions"]
        versions = {
            channel: version for channel, version in known.items() if channel in values or channel not in before
        }
        newest = max(cast(Mapping[str, int], known).values(), default=1)
        added = {channel: newest for channel in values if channel not in versions}
        return {
            **checkpoint,
            "channel_values": values,
            "channel_versions": {**versions, **added},
            "updated_channels": None,
        }

    def _migrated(self, values: Mapping[str, Any], recorded: int) -> dict[str, Any]:
        """A copy: a migration may change what it is given, and other checkpoints share it. Raises MigrationFailed."""
        migrated = copy.deepcopy(dict(values))
        for version in range(recorded, self.versions.graph):
            try:
                migrated = self.migrations[version](migrated)
                if not isinstance(migrated, dict):
                    raise TypeError(f"the migration from version {version} returned no dictionary")
            except Exception as error:
                raise MigrationFailed(graph=self.name, version=version, type=type(error).__name__) from error
        return migrated


def recorded_version(metadata: CheckpointMetadata) -> int:
    """The version of the graph that wrote a checkpoint."""
    return int(cast(Mapping[str, Any], metadata).get(GRAPH_VERSION, FIRST))


def prompts_digest(module: ModuleType) -> str:
    """Of the files in `prompts/` beside the graph's module."""
    folder = Path(module.__file__ or "").parent / "prompts"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _digest({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})


def tools_digest() -> str:
    """Of the contracts of the tools that are imported: their services with the files that these are in."""
    modules = [
        module for name, module in sys.modules.items() if name.startswith("graphmesh.") and name.endswith("_pb2")
    ]
    files: list[FileDescriptor] = [module.DESCRIPTOR for module in modules]
    tools = [file for file in files if file.services_by_name and not file.package.startswith(OURS)]
    return _digest({file.name: file.serialized_pb for file in tools})


def _digest(contents: Mapping[str, bytes]) -> str:
    if not contents:
        return ""
    made = hashlib.sha256()
    for name, content in sorted(contents.items()):
        made.update(f"{name}\0{len(content)}\0".encode() + content)
    return made.hexdigest()[:12]
