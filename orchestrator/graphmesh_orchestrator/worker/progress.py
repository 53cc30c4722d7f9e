"""The entry with which an execution stores its progress."""

from collections.abc import Sequence
from typing import Any

from graphmesh_contracts.keys import checkpoint_thread

from graphmesh_orchestrator.checkpoints import Entry, RunEpoch
from graphmesh_orchestrator.db.rows import ArtifactRow, RunUpdate
from graphmesh_orchestrator.runs.events import Event, event_rows
from graphmesh_orchestrator.runs.outputs import StoredOutput
from graphmesh_orchestrator.runs.run import Run


def progress_entry(run: Run, events: Sequence[Event], artifacts: Sequence[ArtifactRow] = (), **rows: Any) -> Entry:
    """Return the entry of events, and of the run as it is after them, with the number of the last one.

    `rows` are the other fields of the entry.
    """
    state, accounting = run.state, run.accounting
    output = StoredOutput.of(state.output, checkpoint_thread(run.identity.tenant, run.identity.thread_id))
    update: RunUpdate = {
        "status": state.status,
        "output": output.output,
        "output_blocks": output.blocks or None,
        "error": state.error,
        "started": state.started,
        "ended": state.ended,
        "parked": state.parked,
        "holds_thread": state.holds_thread,
        "takeovers": state.takeovers,
        "open_effects": state.open_effects,
        "graph_version": state.graph_version,
        "versions": state.versions,
        "last_seq": accounting.last_seq,
        "usage": dict(vars(accounting.usage)),
    }
    return Entry(
        RunEpoch(run.run_id, state.epoch),
        events=event_rows(run.run_id, accounting.last_seq - len(events) + 1, events),
        run=update,
        artifacts=[*artifacts, *output.artifacts],
        **rows,
    )
