"""Conversion between messages and values of runs."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal, cast
from uuid import uuid4

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct, Value
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.database import UnreadableJson
from graphmesh_chassis.errors import FieldViolation, InvalidRequest
from graphmesh_chassis.identity import Caller
from graphmesh_chassis.redaction import DEFAULT
from graphmesh_chassis.timestamps import to_timestamp
from graphmesh_contracts import NotJsonError, struct_value, to_struct, to_value, value_of
from graphmesh_contracts.structs import printable
from graphmesh_nodes.budget import Limits
from graphmesh_nodes.json_schemas import MAX_ERRORS
from graphmesh_nodes.json_values import require_json

from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.events import NOT_SHOWN
from graphmesh_orchestrator.runs.feedback import Feedback
from graphmesh_orchestrator.runs.run import (
    Interrupt,
    Multitask,
    Run,
    RunIdentity,
    RunRequest,
    RunState,
    StreamMode,
    own_thread,
)

log = structlog.get_logger("graphmesh.runs")

DEFAULT_TIMEOUT = timedelta(minutes=10)
MAX_INPUT_BYTES = 8 * 1024 * 1024
"""The default bound of a state. A run's message has its input and its output."""

MAX_RUN_BYTES = 15 * 1024 * 1024
"""A megabyte less than a client receives. Input and output have less each."""

UNSHOWABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, DecodeError)
"""What a conversion raises for a row that no version of this code has written."""
UNREADABLE = "is stored as JSON that cannot be parsed"

STRATEGIES = {strategy: pb.MultitaskStrategy.Value(f"MULTITASK_STRATEGY_{strategy.name}") for strategy in Multitask}
MODES = {mode: pb.StreamMode.Value(f"STREAM_MODE_{mode.name}") for mode in StreamMode}
STATUSES = {status: pb.RunStatus.Value(f"RUN_STATUS_{status.name}") for status in RunStatus}


def run(request: pb.CreateRunRequest, caller: Caller, now: datetime) -> Run:
    """Return the run of a request that is made `now`, by the database's clock.

    Raises:
        InvalidRequest: its deadline is behind the year 9999, or its input is too large or has numbers that JSON lacks.
    """
    run_id = f"run_{uuid4().hex}"
    begins, deadline = _times(request, now)
    return Run(
        RunIdentity(
            run_id=run_id,
            tenant=caller.tenant,
            subject=caller.subject,
            thread_id=request.thread_id or own_thread(run_id),
            graph=request.graph,
            roles=role_names(caller),
            client=caller.client,
        ),
        RunRequest(
            input=_input(request.input) if request.HasField("input") else None,
            context=_object(request, "context"),
            configurable=_object(request, "configurable"),
            breakpoints=_breakpoints(request),
            stream_modes=[*stream_modes(request.stream_modes)] or None,
            created=now,
            recursion_limit=request.recursion_limit,
            limits=_limits(request.ceilings),
            multitask=_strategy(request.multitask_strategy),
            due=begins.timestamp() if begins > now else 0,
            checkpoint_id=request.checkpoint_id,
            webhook_url=request.webhook_url,
            request_id=request.request_id,
            fingerprint=_fingerprint(request),
            labels=dict(request.labels),
            assistant_version=request.assistant_version,
        ),
        RunState(deadline),
    )


def role_names(caller: Caller) -> list[str] | None:
    """Return the roles of a caller as they are stored."""
    return None if caller.roles is None else sorted(caller.roles)


def _fingerprint(request: pb.CreateRunRequest) -> bytes:
    """Return the digest by which a repeated request is recognised. A repeat may ask for other contents of events."""
    compared = pb.CreateRunRequest()
    compared.CopyFrom(request)
    compared.ClearField("stream_modes")
    return hashlib.sha256(compared.SerializeToString(deterministic=True)).digest()


def _times(request: pb.CreateRunRequest, now: datetime) -> tuple[datetime, datetime]:
    """Return the earliest begin of a run, and its deadline."""
    timeout = request.timeout.ToTimedelta() if request.HasField("timeout") else DEFAULT_TIMEOUT
    try:
        begins = max(now, request.schedule_time.ToDatetime(UTC)) if request.HasField("schedule_time") else now
        return begins, begins + timeout
    except (ValueError, OverflowError) as error:
        raise _invalid("schedule_time", "with the timeout has to be before the year 10000") from error


def _input(value: Struct) -> dict[str, Any]:
    if (size := value.ByteSize()) > MAX_INPUT_BYTES:
        raise _invalid("input", f"has {size} bytes, it may have {MAX_INPUT_BYTES}")
    return json_object(value, "input")


def _object(request: pb.CreateRunRequest, field: Literal["context", "configurable"]) -> dict[str, Any] | None:
    return json_object(getattr(request, field), field) if request.HasField(field) else None


def _breakpoints(request: pb.CreateRunRequest) -> dict[str, list[str]] | None:
    named = {"before": list(request.interrupt_before), "after": list(request.interrupt_after)}
    return named if any(named.values()) else None


def stream_modes(numbers: Iterable[pb.StreamMode.ValueType]) -> Sequence[StreamMode]:
    named = {number: mode for mode, number in MODES.items()}
    return [named[number] for number in numbers]


def _limits(ceilings: pb.Ceilings) -> Limits:
    return Limits(
        max_steps=ceilings.max_steps,
        max_tokens=ceilings.max_tokens,
        max_cost=ceilings.max_cost_micro_usd,
        max_effects=ceilings.max_effects,
    )


def _strategy(number: int) -> Multitask:
    return next((strategy for strategy, value in STRATEGIES.items() if value == number), Multitask.REJECT)


def answers(request: pb.ResumeRunRequest) -> dict[str, Any]:
    """Return the answers by interrupt, as JSON. Raises InvalidRequest as `json_object`."""
    return {key: _json_value(answer, f"answers[{key}]") for key, answer in request.answers.items()}


def json_object(value: Struct, field: str) -> dict[str, Any]:
    """Return a field of a request as a dict. Raises InvalidRequest, which names the value that cannot be stored."""
    return cast(dict[str, Any], _checked(struct_value, value, field))


def _json_value(value: Value, field: str) -> Any:
    return _checked(value_of, value, field)


def _checked(convert: Callable[[Any], Any], message: Struct | Value, field: str) -> Any:
    try:
        return require_json(convert(message))
    except NotJsonError as error:
        whole = message if isinstance(message, Value) else Value(struct_value=message)
        violations = [FieldViolation(path, rule) for path, rule in islice(_unstorable(whole, field), MAX_ERRORS)]
        raise InvalidRequest(violations=violations or [FieldViolation(f"{field}{error.path}", error.rule)]) from error


def _unstorable(value: Value, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the rule of each name, text and number in a value that cannot be stored."""
    match value.WhichOneof("kind"):
        case "struct_value":
            for name, member in value.struct_value.fields.items():
                yield from _unstorable(Value(string_value=name), f"{path}.{printable(name)}")
                yield from _unstorable(member, f"{path}.{printable(name)}")
        case "list_value":
            for number, element in enumerate(value.list_value.values):
                yield from _unstorable(element, f"{path}[{number}]")
        case _:
            try:
                require_json(value_of(value))
            except NotJsonError as error:
                yield path, error.rule


def _invalid(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(violations=[FieldViolation(field, rule)])


def filter_columns(request: pb.ListRunsRequest) -> dict[str, str]:
    """Return the values of a filter by the names of columns."""
    status = next((str(status) for status, number in STATUSES.items() if number == request.status), "")
    columns = {
        "status": status,
        "graph": request.graph,
        "thread_id": request.thread_id,
        "assistant_id": request.assistant_id,
        "schedule_id": request.schedule_id,
    }
    return {name: value for name, value in columns.items() if value}


def run_message(run: Run, interrupts: Sequence[Interrupt] = ()) -> pb.Run:
    """Return the message of a run. `interrupts` are shown while it is parked.

    It never fails, whatever the row has: what cannot be shown is absent, and named in `not_shown`.
    """
    try:
        return _run_message(run, interrupts)
    except UNSHOWABLE as error:
        log.warning("run not shown", run=run.run_id, exc_info=error)
        message = pb.Run(run_id=run.run_id, status=STATUSES[run.status], create_time=to_timestamp(run.request.created))
        message.not_shown.append(NOT_SHOWN)
        return message


def _run_message(run: Run, interrupts: Sequence[Interrupt]) -> pb.Run:
    request, state, usage = run.request, run.state, run.accounting.usage
    is_parked = state.status is RunStatus.INTERRUPTED
    message = pb.Run(
        run_id=run.run_id,
        thread_id=run.identity.thread_id,
        graph=run.identity.graph,
        status=STATUSES[state.status],
        request_id=request.request_id,
        create_time=to_timestamp(request.created),
        deadline=to_timestamp(state.deadline),
        recursion_limit=request.recursion_limit,
        last_seq=run.accounting.last_seq,
        labels=request.labels,
        interrupts=[interrupt_message(interrupt) for interrupt in interrupts] if is_parked else [],
        usage=pb.RunUsage(
            steps=usage.steps,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_micro_usd=usage.cost,
            effects=usage.effects,
        ),
        multitask_strategy=STRATEGIES[request.multitask],
        webhook_url=request.webhook_url,
        versions=pb.Versions(graph=state.graph_version, **state.versions),
        epoch=state.epoch,
        assistant_id=request.assistant_id,
        assistant_version=request.assistant_version,
        schedule_id=request.schedule_id,
        stream_modes=[MODES[mode] for mode in request.modes],
    )
    if request.input is not None:
        _set_struct(message.input, request.input, "input", message.not_shown)
    if request.limits != Limits():
        message.ceilings.CopyFrom(ceilings_message(request.limits))
    if request.due:
        message.schedule_time.CopyFrom(to_timestamp(datetime.fromtimestamp(request.due, UTC)))
    _set_result(message, state)
    if message.ByteSize() > MAX_RUN_BYTES:
        message.ClearField("input")
        message.not_shown.append(f"input: the run would have more than {MAX_RUN_BYTES} bytes with its output")
    return message


def _set_result(message: pb.Run, state: RunState) -> None:
    if state.output is not None:
        _set_struct(message.output, state.output, "output", message.not_shown)
    if state.error is not None:
        message.error.ParseFromString(state.error)
    if state.started is not None:
        message.start_time.CopyFrom(to_timestamp(state.started))
    if state.ended is not None:
        message.end_time.CopyFrom(to_timestamp(state.ended))


def interrupt_message(interrupt: Interrupt) -> pb.Interrupt:
    message = pb.Interrupt(interrupt_id=interrupt.interrupt_id, node=interrupt.node, approval_id=interrupt.approval_id)
    if isinstance(interrupt.value, UnreadableJson):
        message.not_shown = f"value: {UNREADABLE}"
        return message
    try:
        message.value.CopyFrom(to_value(interrupt.value))
    except NotJsonError as error:
        message.not_shown = f"value{error.path}: {error.rule}"
    return message


def feedback(request: pb.RecordFeedbackRequest, subject: str, now: datetime) -> Feedback:
    return Feedback(subject, request.score, DEFAULT.redact(request.comment), now)


def feedback_message(stored: Feedback) -> pb.Feedback:
    time = to_timestamp(stored.time)
    return pb.Feedback(subject=stored.subject, score=stored.score, comment=stored.comment, time=time)


def ceilings_message(limits: Limits) -> pb.Ceilings:
    return pb.Ceilings(
        max_steps=limits.max_steps,
        max_tokens=limits.max_tokens,
        max_cost_micro_usd=limits.max_cost,
        max_effects=limits.max_effects,
    )


def _set_struct(target: Struct, value: Mapping[str, Any], field: str, not_shown: Any) -> None:
    if reason := fill(target, value, field):
        not_shown.append(reason)


def fill(target: Struct, value: Mapping[str, Any], field: str) -> str:
    """Copy `value` to `target`. Returns an empty text; or the field and the reason for which it is not shown."""
    if isinstance(value, UnreadableJson):
        return f"{field}: {UNREADABLE}"
    try:
        target.CopyFrom(to_struct(value))
    except NotJsonError as error:
        return f"{field}{error.path}: {error.rule}"
    return ""


def duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
