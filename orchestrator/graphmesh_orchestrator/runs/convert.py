"""Between the orchestrator's protobuf messages and its values. Protobuf stops here."""

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import FieldViolation, InvalidRequest
from graphmesh_chassis.identity import Caller
from graphmesh_contracts import struct_value, value_of
from graphmesh_nodes.budget import Ceilings

from graphmesh_orchestrator.runs.run import Event, EventKind, Interrupt, Multitask, Run, RunStatus, own_thread

DEFAULT_TIMEOUT = timedelta(minutes=10)
DEFAULT_RECURSION_LIMIT = 25
MAX_INPUT_BYTES = 8 * 1024 * 1024
"""Of a run, which is told with its input and its output in one message: what a state may have, by default."""

STRATEGIES = {strategy: pb.MultitaskStrategy.Value(f"MULTITASK_STRATEGY_{strategy.name}") for strategy in Multitask}
STATUSES = {status: pb.RunStatus.Value(f"RUN_STATUS_{status.name}") for status in RunStatus}


def run(request: pb.CreateRunRequest, caller: Caller) -> Run:
    """The run that a request asks for.

    Raises:
        InvalidRequest: it begins after all years, or its input is too large or has numbers that JSON has not.
    """
    now, run_id = datetime.now(UTC), f"run_{uuid4().hex}"
    begins, deadline = _times(request, now)
    return Run(
        run_id=run_id,
        tenant=caller.tenant,
        subject=caller.subject,
        thread_id=request.thread_id or own_thread(run_id),
        graph=request.graph,
        input=_input(request.input) if request.HasField("input") else None,
        created=now,
        deadline=deadline,
        recursion_limit=request.recursion_limit or DEFAULT_RECURSION_LIMIT,
        request_id=request.request_id,
        fingerprint=hashlib.sha256(request.SerializeToString(deterministic=True)).digest(),
        labels=dict(request.labels),
        ceilings=Ceilings(
            max_steps=request.ceilings.max_steps,
            max_tokens=request.ceilings.max_tokens,
            max_cost=request.ceilings.max_cost_micro_usd,
        ),
        multitask=_strategy(request.multitask_strategy),
        due=begins.timestamp() if begins > now else 0,
        checkpoint_id=request.checkpoint_id,
        webhook_url=request.webhook_url,
    )


def _times(request: pb.CreateRunRequest, now: datetime) -> tuple[datetime, datetime]:
    """When a run begins at the earliest, and when it is ended."""
    timeout = request.timeout.ToTimedelta() if request.HasField("timeout") else DEFAULT_TIMEOUT
    try:
        begins = max(now, request.schedule_time.ToDatetime(UTC)) if request.HasField("schedule_time") else now
        return begins, begins + timeout
    except (ValueError, OverflowError) as error:
        raise _refused("schedule_time", "with the timeout has to be before the year 10000") from error


def _input(given: Struct) -> dict[str, Any]:
    if (size := given.ByteSize()) > MAX_INPUT_BYTES:
        raise _refused("input", f"has {size} bytes, it may have {MAX_INPUT_BYTES}")
    return json_object(given, "input")


def _strategy(number: int) -> Multitask:
    return next((strategy for strategy, known in STRATEGIES.items() if known == number), Multitask.REJECT)


def answers(request: pb.ResumeRunRequest) -> dict[str, Any]:
    """The answers by interrupt, as JSON. Raises InvalidRequest as `json_object`."""
    return {key: _json_value(answer, f"answers[{key}]") for key, answer in request.answers.items()}


def json_object(given: Struct, field: str) -> dict[str, Any]:
    """A field of a request as a dict. Raises InvalidRequest, which names every number that JSON does not have."""
    try:
        return struct_value(given)
    except ValueError as error:
        raise _not_json(Value(struct_value=given), field) from error


def _json_value(given: Value, field: str) -> Any:
    try:
        return value_of(given)
    except ValueError as error:
        raise _not_json(given, field) from error


def _not_json(given: Value, field: str) -> InvalidRequest:
    violations = [FieldViolation(place, "has to be a finite number") for place in _infinite(given, field)]
    return InvalidRequest(violations=violations)


def _infinite(value: Value, place: str) -> Iterator[str]:
    """Where the numbers are that are infinite or none at all."""
    match value.WhichOneof("kind"):
        case "number_value" if not math.isfinite(value.number_value):
            yield place
        case "struct_value":
            for name, inner in value.struct_value.fields.items():
                yield from _infinite(inner, f"{place}.{name}")
        case "list_value":
            for number, inner in enumerate(value.list_value.values):
                yield from _infinite(inner, f"{place}[{number}]")


def _refused(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(violations=[FieldViolation(field, rule)])


def wanted(request: pb.ListRunsRequest) -> dict[str, str]:
    """What a filter asks for, by the names of `Run`."""
    status = next((str(status) for status, number in STATUSES.items() if number == request.status), "")
    asked = {"status": status, "graph": request.graph, "thread_id": request.thread_id}
    return {name: value for name, value in asked.items() if value}


def run_message(run: Run, interrupts: Sequence[Interrupt] = ()) -> pb.Run:
    message = pb.Run(
        run_id=run.run_id,
        thread_id=run.thread_id,
        graph=run.graph,
        status=STATUSES[run.status],
        request_id=run.request_id,
        create_time=timestamp(run.created),
        deadline=timestamp(run.deadline),
        recursion_limit=run.recursion_limit,
        last_seq=run.last_seq,
        labels=run.labels,
        interrupts=[interrupt_message(one) for one in interrupts] if run.status is RunStatus.INTERRUPTED else [],
        usage=pb.RunUsage(
            steps=run.usage.steps,
            input_tokens=run.usage.input_tokens,
            output_tokens=run.usage.output_tokens,
            cost_micro_usd=run.usage.cost,
        ),
        multitask_strategy=STRATEGIES[run.multitask],
        webhook_url=run.webhook_url,
        versions=pb.Versions(graph=run.graph_version, **run.versions),
        epoch=run.epoch,
    )
    if run.input is not None:
        message.input.CopyFrom(struct(run.input))
    if run.ceilings != Ceilings():
        message.ceilings.CopyFrom(_ceilings(run.ceilings))
    if run.due:
        message.schedule_time.CopyFrom(timestamp(datetime.fromtimestamp(run.due, UTC)))
    if run.output is not None:
        message.output.CopyFrom(struct(run.output))
    if run.error is not None:
        message.error.ParseFromString(run.error)
    if run.started is not None:
        message.start_time.CopyFrom(timestamp(run.started))
    if run.ended is not None:
        message.end_time.CopyFrom(timestamp(run.ended))
    return message


def event_message(event: Event) -> pb.RunEvent:
    message = pb.RunEvent(seq=event.seq, time=timestamp(event.time), node=event.node)
    data = event.data
    match event.kind:
        case EventKind.STATUS:
            message.status_changed.CopyFrom(_status_changed(data))
        case EventKind.NODE_STARTED:
            message.node_started.triggers.extend(data["triggers"])
        case EventKind.NODE_FINISHED:
            finished = pb.NodeFinished(update=struct(data["update"]), duration=duration(data["seconds"]))
            message.node_finished.CopyFrom(finished)
        case EventKind.TOOL_CALLED:
            message.tool_called.CopyFrom(_tool_called(data))
        case EventKind.TEXT:
            message.text_delta.text = data["text"]
        case EventKind.CUSTOM:
            message.custom.CopyFrom(struct(data))
    return message


def interrupt_message(interrupt: Interrupt) -> pb.Interrupt:
    return pb.Interrupt(
        interrupt_id=interrupt.interrupt_id,
        value=json_format.ParseDict(interrupt.value, Value()),
        node=interrupt.node,
        approval_id=interrupt.approval_id,
    )


def _status_changed(data: Mapping[str, Any]) -> pb.StatusChanged:
    return pb.StatusChanged(
        status=STATUSES[RunStatus(data["status"])],
        error=_error(data),
        interrupts=[interrupt_message(Interrupt(**one)) for one in data.get("interrupts", ())],
        epoch=data.get("epoch", 0),
    )


def _ceilings(ceilings: Ceilings) -> pb.Ceilings:
    return pb.Ceilings(
        max_steps=ceilings.max_steps,
        max_tokens=ceilings.max_tokens,
        max_cost_micro_usd=ceilings.max_cost,
    )


def _tool_called(data: Mapping[str, Any]) -> pb.ToolCalled:
    return pb.ToolCalled(
        tool=data["tool"],
        effect_key=data["effect_key"],
        attempts=data["attempts"],
        duration=duration(data["seconds"]),
        status=_error(data) or status_pb2.Status(),
        may_have_happened=data["may_have_happened"],
    )


def _error(data: Mapping[str, Any]) -> status_pb2.Status | None:
    packed = data.get("error")
    return status_pb2.Status.FromString(base64.b64decode(packed)) if packed else None


def struct(value: Mapping[str, Any]) -> Struct:
    struct = Struct()
    json_format.ParseDict(dict(value), struct)
    return struct


def timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
