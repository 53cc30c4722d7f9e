"""A run as a person sees it: a line for each thing that happens, while it happens."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from graphmesh.orchestrator.v1 import Interrupt, Run, RunEvent, RunStatus, ToolCalled
from graphmesh_client.questions import asked
from rich.console import Console
from rich.text import Text

STYLES = {
    RunStatus.RUN_STATUS_SUCCESS: "bold green",
    RunStatus.RUN_STATUS_RUNNING: "cyan",
    RunStatus.RUN_STATUS_PENDING: "cyan",
    RunStatus.RUN_STATUS_INTERRUPTED: "bold yellow",
}


class RunView:
    """Prints the events of one run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._speaking = ""
        self._called: set[str] = set()
        self.said = ""
        """All text of models so far."""

    def show(self, event: RunEvent) -> None:
        kind = event.WhichOneof("event")
        if kind == "text_delta":
            self._speak(event.node, event.text_delta.text)
            return
        self.hush()
        if kind == "tool_called":
            self._called.add(event.node)
            self._console.print(_tool_line(event.node, event.tool_called))
        elif kind == "node_finished" and event.node not in self._called:
            self._line(event.node, Text(f"{'':<28}{_milliseconds(event.node_finished.duration)}", style="dim"))
        elif kind == "custom":
            self._line(event.node, Text(json_format.MessageToJson(event.custom, indent=None), style="dim"))
        elif kind == "status_changed" and event.status_changed.HasField("error"):
            self._line("", Text(describe(event.status_changed.error), style="red"))

    def _speak(self, node: str, text: str) -> None:
        if node != self._speaking:
            self.hush()
            self._console.print(Text(f"  {node:<12}", style="bold"), Text("“", style="green"), end="", sep="")
            self._speaking = node
        self.said += text
        self._console.print(Text(text, style="green"), end="", soft_wrap=True)

    def hush(self) -> None:
        """End the line of a model that was speaking."""
        if self._speaking:
            self._console.print(Text("”", style="green"))
            self._speaking = ""

    def _line(self, node: str, rest: Text) -> None:
        self._console.print(Text.assemble((f"  {node:<12}", "bold"), rest))


def _tool_line(node: str, called: ToolCalled) -> Text:
    line = Text.assemble(
        (f"  {node:<12}", "bold"), (f"{called.tool:<28}", "blue"), (_milliseconds(called.duration), "dim")
    )
    if called.effect_key:
        line.append(f"  effect key {called.effect_key[:12]}…", style="magenta")
    if called.attempts > 1:
        line.append(f"  {called.attempts} attempts", style="yellow")
    if called.status.code:
        line.append(f"  {describe(called.status)}", style="red")
    return line


def describe(status: status_pb2.Status) -> str:
    """An error in one line: its reason, then its message."""
    info = error_details_pb2.ErrorInfo()
    reason = next((info.reason for detail in status.details if detail.Unpack(info)), "")
    return f"{reason}: {status.message}" if reason else str(status.message)


def outcome(run: Run) -> Text:
    """How a run ended, in one line."""
    name = RunStatus.Name(run.status).removeprefix("RUN_STATUS_").lower()
    text = Text(name, style=STYLES.get(run.status, "bold red"))
    if run.HasField("end_time"):
        seconds = (run.end_time.ToNanoseconds() - run.create_time.ToNanoseconds()) / 1e9
        text.append(f" in {seconds:.2f} s", style="dim")
    return text


def waits_for(run: Run, command: Callable[..., str]) -> Iterator[Text]:
    """What a parked run asks, and the command that answers: `command` makes one of its words."""
    alone = sum(not one.approval_id for one in run.interrupts) == 1
    for one in run.interrupts:
        words = ["resume", run.run_id, *(["ANSWER"] if alone else ["--answer", f"{one.interrupt_id}=ANSWER"])]
        yield Text.assemble((f"  {one.node:<12}", "bold"), (_question(one), "yellow"))
        yield Text(f"  {'':<12}{command(*(['approve', one.approval_id] if one.approval_id else words))}", style="dim")


def _question(interrupt: Interrupt) -> str:
    """In words where the graph has some."""
    value = asked(interrupt)
    if interrupt.approval_id:
        return f"{value.get('tool', '')}  {value.get('question', '')}".strip()
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def local_time(timestamp: Timestamp) -> str:
    """On the clock of whoever looks, to the second."""
    return timestamp.ToDatetime(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _milliseconds(duration: object) -> str:
    return f"{duration.ToNanoseconds() / 1e6:>8.1f} ms"  # type: ignore[attr-defined]  # a well-known type's own method
