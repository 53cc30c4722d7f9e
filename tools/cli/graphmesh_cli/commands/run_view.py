"""Display of a run: a line for each event as it arrives, its outcome and its open questions."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from graphmesh.orchestrator.v1 import Feedback, Interrupt, Run, RunEvent, ToolCalled
from graphmesh_client.interrupts import interrupt_value
from graphmesh_client.run_status import RunPhase, phase_of, status_name
from graphmesh_contracts import struct_value
from graphmesh_contracts.message_json import message_text
from rich.console import Console
from rich.text import Text

from graphmesh_cli.commands.output import fields_of, print_json_line
from graphmesh_cli.terminal import printable

STYLES = {
    RunPhase.ACTIVE: "cyan",
    RunPhase.PARKED: "bold yellow",
    RunPhase.SUCCEEDED: "bold green",
    RunPhase.FAILED: "bold red",
}


NOTHING = '""'
"""An empty text that a condition has looked at."""


class RunView:
    """Prints the events of one run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text_node = ""
        """The node whose text is being printed."""
        self._called: set[str] = set()
        self.text = ""
        """All text of models so far."""

    def show(self, event: RunEvent) -> None:
        kind, node = event.WhichOneof("event"), _path(event)
        if text := _text_of(event):
            self._print_text(node, text)
            return
        self.end_text()
        if kind == "tool_called":
            self._called.add(node)
            self._console.print(_tool_line(node, event.tool_called), soft_wrap=True)
        elif kind == "node_finished" and event.node_finished.HasField("error"):
            self._line(node, Text(f"{'failed':<28}{_milliseconds(event.node_finished.duration)}", style="red"))
        elif kind == "node_finished" and node not in self._called:
            self._line(node, Text(f"{'':<28}{_milliseconds(event.node_finished.duration)}", style="dim"))
        elif kind in ("route_taken", "validated", "escalated"):
            self._line(node, decision_line(event))
        elif kind == "custom":
            self._line(node, Text(message_text(event.custom), style="dim"))
        elif kind in ("message", "values", "task", "checkpoint", "debug"):
            content = event.not_shown or message_text(getattr(event, kind))
            self._line(node, Text(f"{kind} {printable(content)}", style="dim"))
        elif kind == "status_changed" and event.status_changed.HasField("error"):
            self._show_error(event.status_changed.error)

    def _show_error(self, error: status_pb2.Status) -> None:
        self._line("", Text(describe(error), style="red"))
        for line in cause_lines(error):
            self._console.print(Text(f"    {printable(line)}", style="dim"), soft_wrap=True)

    def _print_text(self, node: str, text: str) -> None:
        if node != self._text_node:
            self.end_text()
            self._console.print(Text(_column(node), style="bold"), Text("“", style="green"), end="", sep="")
            self._text_node = node
        self.text += text
        self._console.print(Text(printable(text), style="green"), end="", soft_wrap=True)

    def end_text(self) -> None:
        """End the line of a model's text."""
        if self._text_node:
            self._console.print(Text("”", style="green"))
            self._text_node = ""

    def _line(self, node: str, rest: Text) -> None:
        self._console.print(Text.assemble((_column(node), "bold"), rest), soft_wrap=True)


class JsonView:
    """Prints the events of one run as lines of JSON."""

    def show(self, event: RunEvent) -> None:
        print_json_line({"event": fields_of(event)})

    def end_text(self) -> None:
        """Every event has a line of its own."""


def _text_of(event: RunEvent) -> str:
    """Return the text of a model in an event."""
    match event.WhichOneof("event"):
        case "text_delta":
            return event.text_delta.text
        case "message":
            message = struct_value(event.message.message)
            content = message.get("content")
            return content if message.get("type") == "AIMessageChunk" and isinstance(content, str) else ""
    return ""


def _path(event: RunEvent) -> str:
    """Return the node of an event with the nodes around it: `outer/inner`."""
    return "/".join([*(level.partition(":")[0] for level in event.namespace), *filter(None, [event.node])])


def _tool_line(node: str, called: ToolCalled) -> Text:
    line = Text.assemble(
        (_column(node), "bold"), (_padded(called.tool, 28), "blue"), (_milliseconds(called.duration), "dim")
    )
    if called.effect_key:
        line.append(f"  effect key {called.effect_key[:12]}…", style="magenta")
    if called.attempts > 1:
        line.append(f"  {called.attempts} attempts", style="yellow")
    if called.status.code:
        line.append(f"  {describe(called.status)}", style="red")
    return line


def decision_line(event: RunEvent) -> Text:
    """Return a decision in one line: what, and why."""
    match event.WhichOneof("event"):
        case "route_taken":
            taken = event.route_taken
            line = Text(f"→ {printable(', '.join(taken.destinations))}", style="cyan")
            seen = "  ".join(f"{name}={value or NOTHING}" for name, value in sorted(taken.looked_at.items()))
            return line.append(f"  {printable(seen)}", style="dim") if seen else line
        case "validated":
            checked = event.validated
            if not checked.faults:
                return Text(f"✓ {printable(checked.check)}", style="green")
            return Text(f"✗ {printable(checked.check)}: {printable(', '.join(checked.faults))}", style="yellow")
    to = f" → {event.escalated.to}" if event.escalated.to else ""
    return Text(f"escalated: {printable(event.escalated.reason + to)}", style="bold yellow")


def feedback_line(feedback: Feedback) -> Text:
    """Return a feedback in one line."""
    line = Text.assemble((f"{feedback.score:g}", "bold"), f" by {printable(feedback.subject)}")
    line.append(f" at {local_time(feedback.time)}", style="dim")
    return line.append(f"  {printable(feedback.comment)}") if feedback.comment else line


def describe(status: status_pb2.Status) -> str:
    """Return an error in one line: its reason, then its message."""
    info = error_details_pb2.ErrorInfo()
    reason = next((info.reason for detail in status.details if detail.Unpack(info)), "")
    return printable(f"{reason}: {status.message}" if reason else str(status.message))


def cause_lines(status: status_pb2.Status) -> list[str]:
    """Return the traceback of a graph's own code, which only an orchestrator in development adds to an error."""
    info = error_details_pb2.DebugInfo()
    found = any(detail.Unpack(info) for detail in status.details)
    return [*info.stack_entries, info.detail] if found else []


def outcome(run: Run) -> Text:
    """Return a run's status and duration in one line."""
    text = Text(status_name(run.status), style=STYLES[phase_of(run.status)])
    if run.HasField("end_time"):
        seconds = (run.end_time.ToNanoseconds() - run.create_time.ToNanoseconds()) / 1e9
        text.append(f" in {seconds:.2f} s", style="dim")
    return text


def open_questions(run: Run, command: Callable[..., str]) -> Iterator[Text]:
    """Yield each question of a parked run and the command line that answers it, which `command` makes of words."""
    is_single = sum(not one.approval_id for one in run.interrupts) == 1
    for one in run.interrupts:
        words = ["resume", run.run_id, *(["ANSWER"] if is_single else ["--answer", f"{one.interrupt_id}=ANSWER"])]
        yield Text.assemble(
            (_column(one.node), "bold"), (printable(_question(one)).replace("\n", f"\n{'':14}"), "yellow")
        )
        if proposal := _proposal(one):
            yield Text(f"  {'':<12}{printable(proposal)}", style="dim")
        yield Text(f"  {'':<12}{command(*(['approve', one.approval_id] if one.approval_id else words))}", style="dim")


def _question(interrupt: Interrupt) -> str:
    """Return the text of an interrupt, or its value as JSON."""
    value = interrupt_value(interrupt)
    if interrupt.approval_id:
        return f"{value.get('tool', '')}  {value.get('question', '')}".strip()
    if isinstance(value, dict) and isinstance(value.get("question"), str):
        return ": ".join(str(value[key]) for key in ("error", "question") if value.get(key))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _proposal(interrupt: Interrupt) -> str:
    """Return the members of an interrupt beside its question as JSON, of which an answer may name some; empty for
    none."""
    value = interrupt_value(interrupt)
    if interrupt.approval_id or not isinstance(value, dict) or not isinstance(value.get("question"), str):
        return ""
    rest = {key: member for key, member in value.items() if key not in ("question", "error")}
    return json.dumps(rest, ensure_ascii=False) if rest else ""


def local_time(timestamp: Timestamp) -> str:
    """Format a time in the local time zone, to the second."""
    return timestamp.ToDatetime(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _column(node: str) -> str:
    return f"  {_padded(node, 12)}"


def _padded(text: str, width: int) -> str:
    """Return a text of at least `width`; two spaces separate a longer one from what follows."""
    return f"{printable(text):<{width}}" if len(text) < width else f"{printable(text)}  "


def _milliseconds(duration: object) -> str:
    return f"{duration.ToNanoseconds() / 1e6:>8.1f} ms"  # type: ignore[attr-defined]  # a well-known type's own method
