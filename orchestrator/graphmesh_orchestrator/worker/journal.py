"""The journal of an execution: stores the run's events in order, with its checkpoints, and then announces them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import structlog
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import Cancelled
from graphmesh_chassis.large_values import Size
from graphmesh_chassis.status import to_status
from graphmesh_nodes.budget import Budget
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.tool_calls import ToolCalled

from graphmesh_orchestrator.checkpoints import Commits, Entry, RunEpoch, WriteBehind
from graphmesh_orchestrator.db.database_clock import Now, system_time
from graphmesh_orchestrator.db.rows import DeliveryRow, InterruptRow
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import Content, origin, status_changed, tool_called
from graphmesh_orchestrator.runs.events import EncodedEvent, Event
from graphmesh_orchestrator.runs.run import Accounting, OpenEffect, Run
from graphmesh_orchestrator.webhooks.deliveries import delivery_row
from graphmesh_orchestrator.webhooks.receivers import announcement
from graphmesh_orchestrator.worker.event_bounds import MAX_PENDING_EVENTS, NO_VALUE, EventBytes, require_names
from graphmesh_orchestrator.worker.joined_text import JoinedText
from graphmesh_orchestrator.worker.progress import progress_entry

log = structlog.get_logger("graphmesh.runs")


class Journal(WriteBehind):
    """The write-behind buffer of one execution, with the run's events, of which it is the only writer.

    Events are stored with the checkpoints that are buffered by then, or some milliseconds later, and then announced.
    Where a checkpoint cannot be stored, the events are stored without it, except for a success of the run, which did
    not happen then. Where events cannot be stored they are dropped: a run can always end.

    It records the calls of the run's tools besides. A call has its event where its part of the graph's stream has it;
    where that part does not arrive, since LangGraph discards the stream of a graph that is cancelled, before the next
    end of a node, or of the run. Effects that may have happened are in the run's row from before they are sent, so that
    the run's end lists them even if another worker ends it.
    """

    def __init__(self, commits: Commits, notifier: Notifier, run: Run, budget: Budget, now: Now = system_time) -> None:
        super().__init__(commits, RunEpoch(run.run_id, run.state.epoch))
        self._notifier, self._run, self._budget, self._now = notifier, run, budget, now
        self._last_seq = run.accounting.last_seq
        self._events: list[Event] = []
        """The events that are not stored yet; the last one has the number `_last_seq`."""
        self._being_stored = 0
        """The number of events that are being stored."""
        self._event_bytes = EventBytes()
        self._interrupts: Sequence[InterruptRow] = ()
        self._deliveries: Sequence[DeliveryRow] = ()
        self._before_stop: Run | None = None
        """The run as it was before it ended or parked; None while it continues."""
        self._is_reduced = False
        """Whether the end was replaced by one without details, since it could not be stored."""
        self._recorded_calls: list[ToolCalled] = []
        """Calls that have ended, and have no event yet."""
        self._calls_ahead: list[ToolCalled] = []
        """Calls that have their event before their part of the stream has arrived."""
        self._new_effects: set[EffectKey] = set()
        """Effects that were not open when this execution was about to send them."""
        self._has_new_effect = False
        """Whether an effect is to be recorded, even if there is nothing else to store."""
        self._stored = run
        self.on_room: Callable[[], None] = lambda: None
        """Called when events have been stored, or dropped."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before_stop is None:
            self.add_recorded_calls()
        await super().__aexit__(kind, error, traceback)

    @property
    def is_deferrable(self) -> bool:
        return super().is_deferrable and self._before_stop is None

    @property
    def is_empty(self) -> bool:
        return super().is_empty and not self._events and not self._has_new_effect

    @property
    def size(self) -> int:
        return super().size + self._event_bytes.pending

    def is_full(self, factor: int = 1) -> bool:
        """Whether the graph is too far ahead of its database, or so many times as far."""
        return self._event_bytes.is_full(factor) or len(self._events) > factor * MAX_PENDING_EVENTS

    def has_room(self, size: Size) -> bool:
        """Whether the execution may have an event with a value of that size."""
        return self._event_bytes.has_room(size)

    @property
    def takeovers(self) -> int:
        """Takeovers of the run since its last checkpoint."""
        return self._stored.state.takeovers

    @property
    def status(self) -> RunStatus:
        """The status of the run as it is stored."""
        return self._stored.status

    @property
    def ended(self) -> Run | None:
        """The run as it is stored with its end, when the context has been left; None where it has not ended."""
        return self._stored if self._stored.status.is_final else None

    def take(self) -> Entry:
        if self._entries and self._before_stop is None:
            self.add_recorded_calls()  # a node whose writes are stored is not executed again
        buffered, self._being_stored = super().take(), len(self._events)
        self._event_bytes.take()
        self._has_new_effect = False
        if buffered.checkpoints and self._run.state.takeovers:
            self._run = self._run.with_state(takeovers=0)
        self._stored = replace(self._run, accounting=Accounting(self._last_seq, self._budget.usage))
        return progress_entry(
            self._stored,
            self._events,
            checkpoints=buffered.checkpoints,
            writes=buffered.writes,
            artifacts=buffered.artifacts,
            interrupts=self._interrupts,
            deliveries=self._deliveries,
        )

    async def add(self, entry: Entry) -> None:
        await super().add(entry)
        await self.wait_for_room()

    async def wait_for_room(self) -> None:
        """Wait until the events are stored, where the graph is too far ahead. Raises as `flush`."""
        if self.is_full():
            self._request_store()
            await self.flush()

    def on_stored(self) -> None:
        del self._events[: self._being_stored]
        self._being_stored = 0
        self._event_bytes.on_taken()
        self.on_room()
        self._notifier.run_changed(self._run.run_id, stopped=not self._stored.status.is_active)

    def on_refused(self) -> bool:
        """Drop something that cannot be stored, least important first; returns whether there was anything to drop.

        A success, or a park, is taken back: it must not be stored without what led to it. The executor awaits it, and
        ends the run with the reason. Any other end holds, without events if need be, and without details if need be.
        """
        has_dropped, is_end = self._stores_entries, False
        if self._before_stop and self._run.status in (RunStatus.SUCCESS, RunStatus.INTERRUPTED):
            self._take_stop_back()
            has_dropped = True
        elif self._before_stop:
            is_end = self._being_stored == len(self._events)
        if not has_dropped:
            has_dropped = self._drop_events(self._being_stored - is_end) or (is_end and self._reduce_end())
        self._being_stored = 0
        self._event_bytes.on_taken()
        self.on_room()
        self._woken.set()
        return has_dropped

    def _take_stop_back(self) -> None:
        assert self._before_stop is not None
        self._stored = self._run = self._before_stop
        self._before_stop, self._interrupts, self._deliveries = None, (), ()
        self._events.pop()
        self._last_seq -= 1

    def _drop_events(self, count: int) -> bool:
        """Drop the oldest events that are not stored, and give their numbers to those after them."""
        if not count:
            return False
        kinds = [event.kind.name.lower() for event in self._events[:count]]
        log.error("events not stored", run=self._run.run_id, kinds=kinds)
        del self._events[:count]
        self._last_seq -= count
        return True

    def _reduce_end(self) -> bool:
        """Replace an end that cannot be stored by one without details."""
        if self._is_reduced:
            return False
        self._is_reduced = True
        error = to_status(ValueNotStorable(key="end", rule="is refused by the database")).SerializeToString()
        self._run = self._run.with_state(output=None, error=error, open_effects={})
        self._deliveries = ()
        self._events[-1] = self._event(status_changed(self._run.status, error))
        return True

    async def effect_sending(self, node: str, namespace: tuple[str, ...], tool: str, key: EffectKey) -> None:
        """See `CallRecorder`. The checkpoint of the task is stored with it."""
        if self._before_stop:
            raise Cancelled(tool=tool)
        self._require_sound()
        effects = self._run.state.open_effects
        if key not in effects:
            self._new_effects.add(key)
            self._set_open_effects(
                {**effects, key: OpenEffect(node=node, namespace=[*namespace], tool=tool, is_reported=False)}
            )
            self._has_new_effect = True
            self._request_store()
        await self.flush()

    def effect_not_sent(self, key: EffectKey) -> None:
        if key in self._new_effects:
            self._close_effect(key)

    def call_ended(self, call: ToolCalled) -> None:
        if self._before_stop is None:
            self._recorded_calls.append(call)

    def add_recorded_calls(self) -> None:
        """Add the events of the calls that have ended, whose parts of the stream have not arrived."""
        calls, self._recorded_calls = self._recorded_calls, []
        for call in calls:
            self._calls_ahead.append(call)
            self._add_call(call)

    def add_call(self, call: ToolCalled) -> None:
        """Add the event of a call, unless it has been added already."""
        if _remove(self._calls_ahead, call):
            return
        _remove(self._recorded_calls, call)
        self._add_call(call)

    def _add_call(self, call: ToolCalled) -> None:
        self.add_event(tool_called(call), call.node, namespace=call.namespace)
        if call.effect_key and call.error is not None and call.may_have_happened:
            effect = OpenEffect(node=call.node, namespace=[*call.namespace], tool=call.tool, is_reported=True)
            self._set_open_effects({**self._run.state.open_effects, call.effect_key: effect})
        elif call.effect_key in self._run.state.open_effects:
            self._close_effect(call.effect_key)

    def _add_open_effects(self) -> list[pb.OpenEffect]:
        """Add the events of effects whose calls have not ended, and return all whose outcome is open."""
        self.add_recorded_calls()
        for key, effect in self._run.state.open_effects.items():
            if not effect["is_reported"]:
                cut_off = Cancelled(tool=effect["tool"])
                namespace = tuple(effect["namespace"])
                self._add_call(ToolCalled(effect["node"], effect["tool"], EffectKey(key), 1, 0.0, cut_off, namespace))
        effects = self._run.state.open_effects.items()
        return [pb.OpenEffect(node=effect["node"], tool=effect["tool"], effect_key=key) for key, effect in effects]

    def _close_effect(self, key: EffectKey) -> None:
        self._new_effects.discard(key)
        self._set_open_effects({other: one for other, one in self._run.state.open_effects.items() if other != key})

    def _set_open_effects(self, effects: dict[str, OpenEffect]) -> None:
        self._run = self._run.with_state(open_effects=effects)

    def add_event(
        self, content: Content, node: str = "", size: Size = NO_VALUE, namespace: tuple[str, ...] = ()
    ) -> None:
        """Add an event with a value of a graph, which has that size, or with none. Raises ValueNotStorable."""
        require_names(node, namespace)
        self._event_bytes.add(size)
        self._append(self._event(content, node, namespace))

    def add_text(self, node: str, namespace: tuple[str, ...], text: str) -> None:
        """Add text of a model to the last event, if that is text of the same node and not being stored yet.

        Raises ValueNotStorable.
        """
        require_names(node, namespace)
        self._event_bytes.add(Size(0, len(text)))
        last = self._events[-1] if len(self._events) > self._being_stored else None
        if isinstance(last, JoinedText) and last.is_continued_by(node, namespace):
            last.add(text)
        else:
            self._append(JoinedText(self._now(), node, namespace, text))

    def _event(self, content: Content, node: str = "", namespace: tuple[str, ...] = ()) -> EncodedEvent:
        return EncodedEvent(content.kind, origin(self._now(), node, namespace) + content.encoded)

    def _append(self, event: Event) -> None:
        self._last_seq += 1
        self._events.append(event)
        self._woken.set()

    def end(
        self,
        status: RunStatus,
        output: dict[str, Any] | None = None,
        error: bytes | None = None,
        size: Size = NO_VALUE,
    ) -> None:
        """Add the run's last event, release its thread, and add the delivery of its webhook. `size` is the output's.

        The calls of tools that have no event yet have theirs before it, and it lists the effects whose outcome is open.
        """
        if self._before_stop:
            return
        last = status_changed(status, error, open_effects=self._add_open_effects())
        ended = self._run.with_state(status=status, output=output, error=error, ended=self._now(), holds_thread=False)
        deliveries = [delivery_row(announcement(ended))] if ended.request.webhook_url else []
        self._event_bytes.add_end(size)
        self._stop(ended, last, deliveries=deliveries)

    def park(self, content: Content, rows: Sequence[InterruptRow]) -> None:
        """Add the event of the interrupts and their rows: a parked run consists of rows and nothing else."""
        self.add_recorded_calls()
        parked = self._run.with_state(status=RunStatus.INTERRUPTED, parked=self._now(), takeovers=0)
        self._stop(parked, content, interrupts=rows)

    def _stop(
        self,
        run: Run,
        last: Content,
        interrupts: Sequence[InterruptRow] = (),
        deliveries: Sequence[DeliveryRow] = (),
    ) -> None:
        """The first stop holds: it may be stored already."""
        if self._before_stop is None:
            self._before_stop, self._run = self._run, run
            self._interrupts, self._deliveries = interrupts, deliveries
            self.add_event(last)
            self._request_store()
            self._commits.wake()


def _remove(calls: list[ToolCalled], call: ToolCalled) -> bool:
    """Remove a call, itself and not one that is equal; returns whether it was there."""
    position = next((position for position, other in enumerate(calls) if other is call), None)
    if position is not None:
        del calls[position]
    return position is not None
