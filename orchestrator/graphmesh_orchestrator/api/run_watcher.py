"""Follows runs: their events, and their ends."""

from collections.abc import AsyncIterator

from graphmesh_orchestrator.notifications.notifier import Notices, Topic
from graphmesh_orchestrator.runs.run import Event, Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.executor import Executor

PAGE = 200
"""Events read at a time."""


class RunWatcher:
    """Waits for changes of runs and reads them. Every method raises NotFound, also for another tenant's run."""

    def __init__(self, runs: SqlRuns, executor: Executor, notices: Notices) -> None:
        self._runs, self._executor, self._notices = runs, executor, notices

    async def stopped(self, tenant: str, run_id: str) -> Run:
        """Return the run as soon as it has ended or parked."""
        if ended := await self._executor.ended(tenant, run_id):
            return ended
        while True:
            notice = self._notices.next(Topic.STOPPED, run_id)
            run = await self._runs.get(tenant, run_id)
            if not run.status.is_active:
                return run
            await self._notices.wait(notice)

    async def events(self, tenant: str, run_id: str, after_seq: int) -> AsyncIterator[Event]:
        """Yield the events after `after_seq`, until the run ends or parks."""
        while True:
            notice = self._notices.next(Topic.EVENTS, run_id)
            run = await self._runs.get(tenant, run_id)
            async for event in self._stored(run_id, after_seq):
                yield event
                after_seq = event.seq
            if not run.status.is_active and after_seq >= run.last_seq:
                return
            if run.status.is_active:
                await self._notices.wait(notice)

    async def _stored(self, run_id: str, after_seq: int) -> AsyncIterator[Event]:
        """Yield the events after `after_seq` that are stored by now."""
        while page := await self._runs.events(run_id, after_seq, PAGE):
            for event in page:
                yield event
            if len(page) < PAGE:
                return
            after_seq = page[-1].seq
