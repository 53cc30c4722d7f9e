"""The versions that a state was written by, and the migration of states of older versions."""

import copy
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from google.protobuf.descriptor import FileDescriptor
from graphmesh_contracts.service_handles import used_contracts
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata

from graphmesh_orchestrator.errors import MigrationFailed, VersionUnavailable

GRAPH_VERSION = "graph_version"
"""In the metadata of a checkpoint."""
FIRST = 1
"""The version of a graph that declares none, and of a checkpoint that records none."""
ORCHESTRATOR_PACKAGE = "graphmesh.orchestrator"
"""The package of the orchestrator's own contract, which is not a tool."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Converts the channel values of one version to those of the next."""


@dataclass(frozen=True)
class Versions:
    """The versions that a state is written by."""

    graph: int = FIRST
    """`VERSION` of the graph's module: its author increments it when older states do not fit any more."""
    prompts: str = ""
    """A digest of the files in `prompts/` beside the module; empty where there are none."""
    tools: str = ""
    """A digest of the contracts of the imported tools."""

    def metadata(self) -> dict[str, Any]:
        """Return the keys that every checkpoint's metadata records."""
        return {GRAPH_VERSION: self.graph, "prompts_version": self.prompts, "tools_version": self.tools}

    def of_run(self) -> dict[str, Any]:
        """Return the fields of `RunState` that record the versions."""
        return {"graph_version": self.graph, "versions": {"prompts": self.prompts, "tools": self.tools}}


@dataclass(frozen=True)
class Lineage:
    """A version of a graph, and the older versions whose states it can continue from."""

    name: str = ""
    versions: Versions = Versions()
    migrations: Mapping[int, Migration] = field(default_factory=dict)
    """By the version that they convert from."""

    @property
    def served(self) -> list[int]:
        """The versions whose states are accepted, its own first."""
        return list(self._served())

    def _served(self) -> Iterator[int]:
        version = self.versions.graph
        yield version
        while (version := version - 1) in self.migrations:
            yield version

    def require(self, recorded: int) -> None:
        """Raises VersionUnavailable where states of the recorded version are not accepted."""
        if recorded not in self.served:
            served = ", ".join(map(str, self.served))
            raise VersionUnavailable(graph=self.name, version=recorded, served=served)

    def current(self, checkpoint: Checkpoint, metadata: CheckpointMetadata, ns: str) -> Checkpoint:
        """Return a stored checkpoint as one of this version. Those of subgraphs, in a namespace, are not migrated.

        Raises:
            VersionUnavailable: states of its version are not accepted.
            MigrationFailed: a migration raised an error, or returned no dictionary.
        """
        recorded = recorded_version(metadata)
        if recorded == self.versions.graph:
            return checkpoint
        self.require(recorded)
        return checkpoint if ns else self.migrated(checkpoint, recorded)

    def migrated(self, checkpoint: Checkpoint, recorded: int) -> Checkpoint:
        """Migrate the values of a checkpoint of an older version. LangGraph sees new channels as just written.

        Pending writes of tasks, and the versions that nodes have seen, are not migrated.

        Raises:
            MigrationFailed: a migration raised an error, or returned no dictionary.
        """
        before = checkpoint["channel_values"]
        values = self._migrated_values(before, recorded)
        recorded_versions = cast(Mapping[str, int], checkpoint["channel_versions"])
        versions = {
            channel: version
            for channel, version in recorded_versions.items()
            if channel in values or channel not in before
        }
        newest = max(recorded_versions.values(), default=1)
        added = {channel: newest for channel in values if channel not in versions}
        return {
            **checkpoint,
            "channel_values": values,
            "channel_versions": {**versions, **added},
            "updated_channels": None,
        }

    def _migrated_values(self, values: Mapping[str, Any], recorded: int) -> dict[str, Any]:
        """Migrate a copy, as migrations may change values that checkpoints share. Raises MigrationFailed."""
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
    """Return the version of the graph that wrote a checkpoint."""
    return int(cast(Mapping[str, Any], metadata).get(GRAPH_VERSION, FIRST))


def prompts_digest(module: ModuleType) -> str:
    """Return a digest of the files in `prompts/` beside the graph's module; empty where there are none."""
    folder = Path(module.__file__ or "").parent / "prompts"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _digest({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})


def tools_digest() -> str:
    """Return a digest of the imported tools' contracts: of the files that declare their services."""
    modules = [
        module for name, module in sys.modules.items() if name.startswith("graphmesh.") and name.endswith("_pb2")
    ]
    files: list[FileDescriptor] = [module.DESCRIPTOR for module in modules]
    tools = [file for file in files if file.services_by_name and not file.package.startswith(ORCHESTRATOR_PACKAGE)]
    return _digest({**{file.name: file.serialized_pb for file in tools}, **used_contracts()})


def _digest(contents: Mapping[str, bytes]) -> str:
    if not contents:
        return ""
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]
