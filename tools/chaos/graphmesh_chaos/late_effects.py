"""Effects that were committed after the end of their run: the work of a worker that another one had overtaken.

A repeat of an effect has the same key, so it shows nothing. The graph `drafts.py` makes an effect that no later
execution of its run repeats.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from graphmesh_local.databases import DatabaseUrls
from graphmesh_local.readonly_database import connect_read_only
from graphmesh_orchestrator import run_status
from graphmesh_orchestrator.run_status import RunStatus

ENDS = sa.text(
    "SELECT run_id, status, pg_xact_commit_timestamp(run_events.xmin) AS time"
    " FROM runs JOIN run_events USING (run_id, last_seq) WHERE status = ANY(:final)"
)
"""The last events of a run are written with its end, and never again."""
EFFECTS = sa.text("SELECT run, node, key, pg_xact_commit_timestamp(xmin) AS time FROM effects WHERE run <> ''")


@dataclass(frozen=True)
class CommittedEnd:
    """The end of a run, with the time of its commit."""

    run_id: str
    status: RunStatus
    time: datetime


@dataclass(frozen=True)
class CommittedEffect:
    """An effect, with the time of its commit."""

    run_id: str
    node: str
    key: str
    time: datetime


@dataclass(frozen=True)
class Commits:
    """The times are those of the one server that all databases share; SQLite keeps none."""

    ends: Sequence[CommittedEnd] = ()
    effects: Sequence[CommittedEffect] = ()


NO_COMMITS = Commits()


def read_commits(databases: DatabaseUrls) -> Commits:
    if databases["orchestrator"].startswith("sqlite"):
        return NO_COMMITS
    with connect_read_only(databases["orchestrator"]) as orchestrator:
        rows = orchestrator.execute(ENDS, {"final": [str(status) for status in run_status.FINAL]})
        ends = [CommittedEnd(row.run_id, RunStatus(row.status), row.time) for row in rows]
    effects: list[CommittedEffect] = []
    for service in ("billing", "ticketing"):
        with connect_read_only(databases[service]) as connection:
            effects += [CommittedEffect(row.run, row.node, row.key, row.time) for row in connection.execute(EFFECTS)]
    return Commits(ends, effects)


def late_effects(commits: Commits, open_effects: set[tuple[str, str]]) -> Iterator[str]:
    """The effects that were committed after the end of their run.

    Left out are `open_effects`, by run and key, of runs without success: their ends report that these may still happen.
    """
    ends = {end.run_id: end for end in commits.ends}
    for effect in commits.effects:
        end = ends.get(effect.run_id)
        if end is None or effect.time < end.time:
            continue
        if end.status is RunStatus.SUCCESS or (effect.run_id, effect.key) not in open_effects:
            late = (effect.time - end.time).total_seconds()
            yield f"{effect.run_id} had ended for {late:.3f} s when its {effect.node} {effect.key} was committed"
