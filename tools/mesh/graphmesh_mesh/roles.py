"""The file with the roles of callers: what each may call, which graphs it may run, and what these may call for it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.mesh_files import problem_at, read_yaml

ALL = "*"
APPROVALS = "approvals."
GIVE_APPROVALS = "approvals.write"
"""The scope of the RPC that answers approvals. Each approval requires scopes of its own besides."""
ALL_APPROVALS = f"{APPROVALS}*"
"""Among the scopes of a caller: those of all approvals, of the ones that graphs define too."""

RoleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}$")]
Scope = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$")]
ScopeOrAll = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+)$")]
GraphOrAll = Annotated[str, Field(pattern=r"^(\*|[^\x00-\x1f*]{1,64})$")]
ToolOrAll = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9_]*(\.[A-Z][A-Za-z0-9]*)?)$")]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Role(Model):
    """What a role may do. Each list is empty by default; `*` in it is all."""

    scopes: tuple[ScopeOrAll, ...] = ()
    """The scopes of RPCs: `runs.read`."""
    graphs: tuple[GraphOrAll, ...] = ()
    """The graphs that it may run, by the names in langgraph.json."""
    tools: tuple[ToolOrAll, ...] = ()
    """What these graphs may call for it: a tool, `billing.Refund`, or all of a service, `billing`."""
    approvals: tuple[ScopeOrAll, ...] = ()
    """The scopes of the approvals that it may give: `approvals.refund`."""


class Roles(Model):
    """The content of the file."""

    scopes: tuple[Scope, ...] = ()
    """Scopes that no contract declares: of readers of documents, of roles of SQL, of approvals in graphs."""
    roles: Annotated[Mapping[RoleName, Role], Field(min_length=1)]
    """Other roles in a token have nothing."""
    _path: Path | None = PrivateAttr(default=None)

    @field_validator("roles")
    @classmethod
    def _differ_not_only_in_case(cls, roles: Mapping[str, Role]) -> Mapping[str, Role]:
        """Issuers state roles as they are: one of the two would be given by mistake."""
        names = dict[str, str]()
        for name in roles:
            if (other := names.setdefault(name.lower(), name)) != name:
                raise ValueError(f"{other} and {name} differ only in case")
        return roles

    @classmethod
    def read(cls, path: Path) -> "Roles":
        """Read a file. Raises ValueError with the file, the line, the key and the rule."""
        try:
            raw = read_yaml(path)
        except MeshError as error:
            raise ValueError(f"{path}: {error}") from None
        try:
            found = cls.model_validate(raw)
        except ValidationError as error:
            broken = [(one["loc"], one["msg"].removeprefix("Value error, ")) for one in error.errors()]
            raise ValueError("; ".join(problem_at(path, loc, rule) for loc, rule in broken)) from None
        found._path = path
        return found

    def check(self, contracts: "Contracts") -> None:
        """Check the names of scopes and tools. Raises ValueError, as `read`."""
        known = contracts.scopes | set(self.scopes)
        for name, role in self.roles.items():
            for loc, rule in _broken_rules(role, known, contracts):
                raise ValueError(problem_at(self._path, ("roles", name, *loc), rule))

    def check_graphs(self, graphs: frozenset[str]) -> None:
        """Check the names of graphs against those of langgraph.json. Raises ValueError, as `read`."""
        for name, role in self.roles.items():
            for number, graph in enumerate(role.graphs):
                if graph not in (ALL, *graphs):
                    loc = ("roles", name, "graphs", number)
                    raise ValueError(problem_at(self._path, loc, f"no graph is called {graph}"))

    def rendered(self, contracts: "Contracts") -> bytes:
        """Return what orchestrators read: graphs, tools, and the scopes that no contract declares."""
        roles = {
            name: {
                "graphs": sorted(set(role.graphs)),
                "tools": sorted(set(role.tools)),
                "scopes": sorted(scope for scope in self._scopes_of(role, contracts) if self._is_checked_inside(scope)),
            }
            for name, role in self.roles.items()
        }
        return json.dumps(roles, indent=2).encode() + b"\n"

    def _is_checked_inside(self, scope: str) -> bool:
        return scope in self.scopes and not scope.startswith(APPROVALS)

    def scopes_of(self, contracts: "Contracts") -> dict[str, frozenset[str]]:
        """Return the scopes of each role, with those of the approvals that it may give."""
        return {name: self._scopes_of(role, contracts) for name, role in self.roles.items()}

    def _scopes_of(self, role: Role, contracts: "Contracts") -> frozenset[str]:
        every = contracts.scopes | {scope for scope in self.scopes if not scope.startswith(APPROVALS)}
        scopes = every if ALL in role.scopes else frozenset(role.scopes)
        approvals = contracts.approvals | {ALL_APPROVALS} if ALL in role.approvals else frozenset(role.approvals)
        return scopes | approvals


RolesFile = Annotated[Roles, BeforeValidator(lambda given: Roles.read(given) if isinstance(given, Path) else given)]
"""Given by its path."""


class Contracts(Model):
    """What the contracts of a mesh declare."""

    scopes: frozenset[str]
    """The scopes of all methods."""
    approvals: frozenset[str]
    """The scopes of the approvals of all methods."""
    tools: frozenset[str]
    """All methods, `billing.Refund`, and all services, `billing`."""


def _broken_rules(role: Role, known: set[str] | frozenset[str], contracts: Contracts) -> Iterator[tuple[Any, str]]:
    """Yield the place in the role and the rule of each name that does not exist."""
    for number, scope in enumerate(role.scopes):
        if scope not in (ALL, *known):
            yield ("scopes", number), f"no contract declares the scope {scope}, nor does the list scopes of the file"
        elif scope.startswith(APPROVALS) and scope not in contracts.scopes:
            yield ("scopes", number), f"{scope} is of an approval: list it in approvals"
    for number, tool in enumerate(role.tools):
        if tool not in (ALL, *contracts.tools):
            yield ("tools", number), f"no tool is called {tool}"
    for number, scope in enumerate(role.approvals):
        if scope != ALL and scope not in contracts.approvals and scope not in known - contracts.scopes:
            yield ("approvals", number), f"no approval requires {scope}: list those of graphs in scopes of the file"
    if role.approvals and not {ALL, GIVE_APPROVALS} & set(role.scopes) and GIVE_APPROVALS in contracts.scopes:
        yield ("approvals",), f"a role with approvals needs the scope {GIVE_APPROVALS}"
