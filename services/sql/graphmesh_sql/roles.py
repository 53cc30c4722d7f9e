"""Chooses the role that a caller reads with."""

from typing import Final

from graphmesh_chassis.identity import Caller

from graphmesh_sql.declarations import Declarations
from graphmesh_sql.domain import Rule, RuleBroken

SCOPE: Final = "sql.role."
"""The scope `sql.role.NAME` allows the role NAME."""


def role_of(caller: Caller, requested: str, declared: Declarations) -> str:
    """Return the requested role; without one, the only role of the caller's scopes, else the default one.

    Where no role is declared, it is empty: all callers read what the connection may read.

    Raises:
        RuleBroken: there is no such role, it is not the caller's, or the caller has to name one.
    """
    if not declared.roles:
        if requested:
            raise RuleBroken(Rule.ROLE, f"there is no role {requested}: none is declared")
        return ""
    own = {name for name in declared.roles if caller.scopes is None or f"{SCOPE}{name}" in caller.scopes}
    if requested:
        if requested not in own | {declared.default_role}:
            raise RuleBroken(Rule.ROLE, f"the role {requested} does not exist, or needs the scope {SCOPE}{requested}")
        return requested
    if caller.scopes is not None and len(own) == 1:
        return own.pop()
    if declared.default_role:
        return declared.default_role
    raise RuleBroken(Rule.ROLE, f"name a role; those of the caller are: {', '.join(sorted(own)) or 'none'}")
