"""The state folder of a running mesh: what `graphmesh up` tells the other commands."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

DEFAULT_STATE = Path(".graphmesh")


class NoMesh(Exception):
    """No mesh runs from this state folder."""


class MeshBusy(Exception):
    """A mesh runs from this state folder already."""


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProcessState(Model):
    """One process of the mesh."""

    address: str
    pid: int
    state: Literal["new", "starting", "ready", "died", "stopped"]
    starts: int
    log: Path


class MeshState(Model):
    """A running mesh. All addresses are host:port."""

    pid: int
    """Of the process that supervises it."""
    environment: str
    """Of mesh.yaml; empty for the base."""
    edge: str
    """For clients."""
    mesh: str
    """For services and remote nodes."""
    admin: str
    """Envoy's own."""
    services: Mapping[str, tuple[str, ...]]
    """The replicas behind Envoy, by service."""
    processes: Mapping[str, ProcessState]


class StateFolder:
    """Where a mesh keeps its databases, logs and Envoy's files."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self.databases = self.path / "databases"
        self.envoy = self.path / "envoy"
        self._file = self.path / "mesh.json"
        self._lock = self.path / "lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder to this process.

        Raises:
            MeshBusy: another process holds it.
        """
        for folder in (self.logs, self.databases, self.envoy):
            folder.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            try:
                flock(lock, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                raise MeshBusy(f"a mesh runs from {self.path} already; stop it, or choose another --state") from None
            try:
                yield
            finally:
                self._file.unlink(missing_ok=True)

    def write(self, state: MeshState) -> None:
        made = self._file.with_suffix(".new")
        made.write_text(state.model_dump_json(indent=2) + "\n")
        made.replace(self._file)

    def read(self) -> MeshState:
        """The mesh that runs from this folder.

        Raises:
            NoMesh: none does.
        """
        if not self._is_held():
            raise NoMesh(f"no mesh runs from {self.path}; start one with `graphmesh up`")
        return MeshState.model_validate_json(self._file.read_bytes())

    def _is_held(self) -> bool:
        """Whether a mesh was started, and what started it lives: the file is left behind when that is killed."""
        if not self._file.exists():
            return False
        with self._lock.open() as lock:
            try:
                flock(lock, LOCK_SH | LOCK_NB)
            except BlockingIOError:
                return True
        return False
