"""Refused calls in the audit log: a flood of them is counted, and is a bounded number of rows.

A refusal changes nothing, so no transaction carries its row. Equal refusals are counted in memory and written by a
background task: the first within about a second, and those that follow together, once a minute. A crash loses those of
the last minute. Each tenant has MAX_KINDS kinds of refusals a minute, and one for all further kinds.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from graphmesh_contracts import Idempotency

from graphmesh_chassis.audit_log import new_row
from graphmesh_chassis.calls import Call
from graphmesh_chassis.errors import (
    ApprovalMismatch,
    ApprovalRequired,
    GraphmeshError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    WorkloadNotAllowed,
)

PERIOD_SECONDS = 60.0
MAX_KINDS = 20
"""The kinds of refusals of a tenant that have rows of their own, in a period."""
MAX_TENANTS = 100
"""The tenants that have kinds of their own, in a period."""
MAX_TEXT = 255
"""Characters of a column."""
OTHER_REFUSALS = "OTHER_REFUSALS"
"""The result of the row that counts further kinds."""
_REFUSALS = (PermissionDenied, Unauthenticated, ApprovalRequired, ApprovalMismatch)


class Kind(NamedTuple):
    """Equal refusals."""

    tenant: str
    subject: str = ""
    method: str = ""
    result: str = OTHER_REFUSALS


class Refusals:
    """The refusals of a process that are not written yet."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._ends = now() + PERIOD_SECONDS
        self._counts: Counter[Kind] = Counter()
        self._written: set[Kind] = set()
        """The kinds that have a row of this period."""
        self._kinds: Counter[str] = Counter()
        """The number of kinds of each tenant in this period."""

    def add(self, call: Call, error: GraphmeshError) -> None:
        """Count a call that ended with `error`, if that is a refusal which the log does not have yet.

        A resource that does not exist for the tenant is one where the call would change it.
        """
        is_write = call.policy.idempotency is not Idempotency.READ
        if call.is_audited or not (isinstance(error, _REFUSALS) or (is_write and isinstance(error, NotFound))):
            return
        is_unknown = isinstance(error, Unauthenticated | WorkloadNotAllowed)
        caller = ("", "") if is_unknown else (call.caller.tenant, call.caller.subject)
        self._counts[self._kind(Kind(caller[0], caller[1][:MAX_TEXT], call.path, error.reason))] += 1

    def _kind(self, kind: Kind) -> Kind:
        """Return the kind under which to count `kind`."""
        if kind in self._counts or kind in self._written:
            return kind
        if kind.tenant not in self._kinds and len(self._kinds) >= MAX_TENANTS:
            return Kind("")
        if self._kinds[kind.tenant] >= MAX_KINDS:
            return Kind(kind.tenant)
        self._kinds[kind.tenant] += 1
        return kind

    def take(self) -> Sequence[dict[str, Any]]:
        """Return the rows to write now."""
        is_over = self._now() >= self._ends
        due = [kind for kind in self._counts if is_over or kind not in self._written]
        rows = [_row(kind, self._counts.pop(kind)) for kind in due]
        self._written.update(due)
        if is_over:
            self._written.clear()
            self._kinds.clear()
            self._ends = self._now() + PERIOD_SECONDS
        return rows

    def give_back(self, rows: Sequence[dict[str, Any]]) -> None:
        """Count rows again that could not be written."""
        for row in rows:
            kind = Kind(row["tenant"], row["subject"], row["method"], row["result"])
            self._counts[self._kind(kind)] += row["calls"]
            self._written.discard(kind)


def _row(kind: Kind, calls: int) -> dict[str, Any]:
    return new_row(datetime.now(UTC), **kind._asdict(), calls=calls)
