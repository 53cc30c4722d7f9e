"""The state folder of a running mesh: how other commands find the mesh that `graphmesh up` has started."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from graphmesh_local.call_keys import PRIVATE, PUBLIC
from graphmesh_local.errors import LocalError

DEFAULT_STATE = Path(".graphmesh")
ROLES_FILE = "roles.json"


class NoMesh(LocalError):
    """No mesh runs from a state folder."""


class MeshBusy(LocalError):
    """A mesh runs from a state folder already."""


class NoStateFolder(LocalError):
    """A folder to empty is not one of a mesh."""


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProcessState(Model):
    """One process of the mesh."""

    address: str
    pid: int
    state: Literal["new", "starting", "ready", "died", "stopped"]
    starts: int
    log: Path
    metrics: str = ""
    """The address of its metrics for Prometheus; empty where it serves none."""


class MeshState(Model):
    """A running mesh, as stored in mesh.json. All addresses are host:port."""

    pid: int
    """The supervising process."""
    environment: str
    """The environment of mesh.yaml; empty for the base."""
    edge: str
    """The listener for clients."""
    mesh: str
    """The listener for services and remote nodes."""
    admin: str
    """Envoy's admin listener."""
    certificates: Path
    """The folder with the certificates of its workloads."""
    services: Mapping[str, tuple[str, ...]]
    """The replicas behind Envoy, by service."""
    processes: Mapping[str, ProcessState]


class Credentials(Model):
    """A token for clients of a mesh on this machine, as stored in credentials.json."""

    edge: str
    """host:port."""
    tenant: str
    token: str


class StateFolder:
    """Paths of a mesh's databases, logs, contracts and Envoy files, and the lock on them."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self.databases = self.path / "databases"
        self.envoy = self.path / "envoy"
        self.contracts = self.path / "contracts"
        """The descriptor sets of services whose contracts are not installed."""
        self.roles = self.path / ROLES_FILE
        """The graphs and tools of roles, for orchestrators."""
        self.environments = self.path / "environments"
        """The Python environments of projects."""
        self.issuer_key = self.path / "issuer-key.pem"
        """The private key of the development issuer of tokens."""
        self.issuer_jwks = self.path / "issuer-jwks.json"
        self.revoked = self.path / "revoked.yaml"
        """The revoked tokens of that issuer, which the edge refuses."""
        self.credentials = self.path / "credentials.json"
        """A token for clients in the folder of the state folder."""
        self.call_key = self.path / PRIVATE
        """The private key of call tokens."""
        self.call_keys = self.path / PUBLIC
        """The public keys of call tokens."""
        self.spans = self.path / "spans"
        """What processes have not exported of their spans."""
        self.certificates = self.path / "certificates"
        """The authority of the mesh and the certificates of its workloads, unless mesh.yaml names another folder."""
        self._file = self.path / "mesh.json"
        self._lock = self.path / "lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for this process. Only its user may enter it, and the folders in it.

        A folder that no mesh has used before may be one of other programs, so its own mode is not changed.

        Raises:
            MeshBusy: another process has the lock.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.logs, self.databases, self.envoy, self.contracts):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        if self._lock.exists():
            self.path.chmod(0o700)
        self._lock.touch(mode=0o600)
        with self._lock.open("w") as lock:
            try:
                flock(lock, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                raise MeshBusy(f"a mesh runs from {self.path} already; stop it, or choose another --state") from None
            try:
                yield
            finally:
                self._file.unlink(missing_ok=True)
                self.credentials.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the folder with all that a mesh has left in it.

        Raises:
            NoStateFolder: it has files, and no mesh has run from it.
            MeshBusy: a mesh runs from it.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir() or (any(self.path.iterdir()) and not self._lock.exists()):
            raise NoStateFolder(f"{self.path} is no folder of a mesh, and is not emptied: name another --state")
        if self._lock.exists():
            with self.locked():
                shutil.rmtree(self.path, ignore_errors=True)

    def write(self, state: MeshState) -> None:
        """Replace mesh.json atomically."""
        _replace(self._file, state.model_dump_json(indent=2) + "\n")

    def write_credentials(self, credentials: Credentials) -> None:
        """Replace credentials.json atomically."""
        _replace(self.credentials, credentials.model_dump_json() + "\n")

    def write_revoked(self, text: str) -> None:
        """Replace revoked.yaml atomically."""
        _replace(self.revoked, text)

    def read(self) -> MeshState:
        """Return the mesh that runs from this folder.

        Raises:
            NoMesh: no mesh runs from it.
        """
        try:
            if self._is_running():
                return MeshState.model_validate_json(self._file.read_bytes())
        except (OSError, ValueError) as error:
            raise NoMesh(f"{self._file} cannot be read, start the mesh again: {error}") from error
        raise NoMesh(f"no mesh runs from {self.path}; start one with graphmesh up")

    def _is_running(self) -> bool:
        """Whether mesh.json exists and its writer still has the lock: a killed writer leaves the file behind."""
        if not self._file.exists():
            return False
        with self._lock.open() as lock:
            try:
                flock(lock, LOCK_SH | LOCK_NB)
            except BlockingIOError:
                return True
        return False


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically. Only its user may read it."""
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)
