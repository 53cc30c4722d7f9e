"""The graphs that roles may run, and the tools that these may call for them: the file of the settings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from graphmesh_chassis.reread_file import RereadFile
from graphmesh_chassis.settings import BadSetting
from graphmesh_nodes.errors import ToolNotAllowed
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from graphmesh_orchestrator.errors import GraphNotAllowed

ALL, RUN_API = "*", "orchestrator"
SETTING = "GRAPHMESH_ORCHESTRATOR_ROLES"

RoleNames = Sequence[str] | None
"""The roles of a caller; None: the call had none, as those of the local developer."""


Kind = Literal["graphs", "tools"]


@dataclass(frozen=True)
class Refused:
    """The refusal of roles: its message, the caller's roles, and those that may."""

    message: str
    roles: str
    allowed: str


class Role(BaseModel):
    """A role as `graphmesh render roles` writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    graphs: frozenset[str]
    tools: frozenset[str]
    """`billing.Refund`, or all of a service: `billing`."""
    scopes: frozenset[str]
    """The scopes that services check themselves, and no contract declares."""


ROLES = TypeAdapter(dict[str, Role])


class RoleRules:
    """The rules of roles. The file is read again when it has changed: it holds for the next call of a run."""

    def __init__(self, path: Path | None = None, graphs: Collection[str] = (), *, required: bool = False) -> None:
        """
        Args:
            path: the file; None: roles are not restricted, and calls that state roles are refused.
            graphs: the graphs of the process.
            required: whether a caller without roles may do nothing. Otherwise it is the local developer.

        Raises:
            BadSetting: the file cannot be read, or names a graph that does not exist.
        """
        self._graphs, self._is_required = frozenset(graphs), required
        try:
            self._file = RereadFile(path, self._parsed) if path else None
        except OSError as error:
            raise BadSetting(f"{SETTING}: {path}: {error.strerror}") from error
        except ValueError as error:
            raise BadSetting(f"{SETTING}: {path}: {error}") from error

    def require_graph(self, roles: RoleNames, graph: str) -> None:
        """Raises GraphNotAllowed, with the roles that may, where none of the roles may run a graph."""
        if not self.may_run(roles, graph):
            refused = self._refused(roles, "graphs", {ALL, graph}, f"run the graph {graph}")
            raise GraphNotAllowed(refused.message, graph=graph, roles=refused.roles, allowed=refused.allowed)

    def may_run(self, roles: RoleNames, graph: str) -> bool:
        """Return whether one of the roles may run a graph."""
        return self._allows(roles, "graphs", {ALL, graph})

    def require_tool(self, roles: RoleNames, tool: str) -> None:
        """Raises ToolNotAllowed, with the roles that may, where no graph may call a tool, `billing.Refund`, for the
        roles. All tools are those of services: the run API has to be named."""
        service = tool.partition(".")[0]
        names = {tool, service} if service == RUN_API else {ALL, tool, service}
        if not self._allows(roles, "tools", names):
            refused = self._refused(roles, "tools", names, f"have {tool} called")
            message = f"{refused.message}: nothing was sent"
            raise ToolNotAllowed(message, tool=tool, roles=refused.roles, allowed=refused.allowed)

    def restricts(self, roles: RoleNames) -> bool:
        """Return whether a caller with these roles is another one than the local developer."""
        return roles is not None or (self._file is not None and self._is_required)

    def rights(self, graph: str, tools: Collection[str]) -> dict[str, list[str]]:
        """Return the roles that may run a graph, each with those of `tools` that it has; without any, with its own."""
        return {
            name: [tool for tool in tools if not role.tools.isdisjoint({ALL, tool, tool.partition(".")[0]})]
            if tools
            else sorted(role.tools)
            for name, role in sorted(self._known().items())
            if not role.graphs.isdisjoint({ALL, graph})
        }

    def names(self, roles: RoleNames) -> frozenset[str] | None:
        """Return the roles of a caller; None for the local developer."""
        return frozenset(roles or ()) if self.restricts(roles) else None

    def scopes(self, roles: RoleNames) -> frozenset[str]:
        """Return the scopes that calls for the roles carry besides those of the method."""
        known = self._known() if roles else {}
        return frozenset().union(*(known[role].scopes for role in roles or () if role in known))

    def _allows(self, roles: RoleNames, kind: Kind, names: set[str]) -> bool:
        if not self.restricts(roles):
            return True
        known = self._known()
        return any(not names.isdisjoint(getattr(known[role], kind)) for role in roles or () if role in known)

    def _refused(self, roles: RoleNames, kind: Kind, names: set[str], action: str) -> Refused:
        """Return why roles may not do something, and which may."""
        known = self._known()
        allowed = " ".join(sorted(name for name, role in known.items() if not names.isdisjoint(getattr(role, kind))))
        held = " ".join(roles or ())
        reason = f"The caller has the roles {held}" if held else "The caller has no role"
        if gone := " ".join(role for role in roles or () if role not in known):
            reason += f", of which the file of roles does not have {gone}"
        return Refused(f"{reason}; the roles that may {action}: {allowed or 'none'}", held, allowed)

    def _known(self) -> dict[str, Role]:
        return self._file.content() if self._file else {}

    def _parsed(self, content: bytes) -> dict[str, Role]:
        try:
            found = ROLES.validate_json(content)
        except ValidationError as error:
            [first, *_] = error.errors()
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        for name, role in found.items():
            if unknown := sorted(role.graphs - self._graphs - {ALL}):
                raise ValueError(f"{name}.graphs: no graph is called {unknown[0]}")
        return found


NO_RULES = RoleRules()
