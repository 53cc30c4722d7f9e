"""`graphmesh logs`: the logs of the processes of a mesh on this machine, in the order of time."""

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from graphmesh_local.log_files import BEGINNING, LogFile, LogLine, UnknownProcess, last_lines, log_files, merged
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder
from rich.text import Text

from graphmesh_cli.commands.connection import parse_seconds
from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.failures import Failure, usage_error

DEFAULT_LINES = 100
MAX_LINES = 10_000
POLL_SECONDS = 0.25
LEVELS = {"warning": "yellow", "error": "red", "critical": "bold red"}
HIDDEN = ("timestamp", "level", "event", "service", "cause", "exception")
"""Fields of a structured line that have a place of their own."""
RUN = re.compile(r"run_[0-9a-f]{32}")
MAX_CANDIDATES = 5


def logs(
    process: Annotated[
        list[str] | None,
        typer.Argument(help="Only these: billing, orchestrator-2, envoy; a service's name is all its replicas."),
    ] = None,
    run: Annotated[str, typer.Option(help="Only lines of this run: its id, or the beginning of it.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Only lines after 10m ago, or 2026-01-31T12:00:00Z.")] = "",
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=MAX_LINES, help="The last lines; with --run or --since all.")
    ] = DEFAULT_LINES,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new lines, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    state: Annotated[Path, typer.Option(help="The state folder of a running or stopped mesh.")] = DEFAULT_STATE,
) -> None:
    """Show the logs of the processes of a mesh on this machine, in the order of time.

    A line of a server that is JSON is shown with its fields. Without options the last lines of all processes.
    """
    folder, beginning = StateFolder(state).logs, _beginning(since)
    names = process or []
    try:
        files = [LogFile(name, path) for name, path in log_files(folder, names).items()]
    except UnknownProcess as error:
        raise usage_error(str(error)) from None
    run_id = _whole_run(files, run)
    found = merged(files, beginning, run_id) if run or since else iter(last_lines(files, lines))
    shown = 0
    for line in found:
        _print(line, as_json)
        shown += 1
    if follow:
        _follow(folder, names, files, run_id, as_json)
    elif not shown and not as_json:
        console().print(f"no lines in {folder}", style="dim", soft_wrap=True)


def _follow(folder: Path, names: Sequence[str], files: list[LogFile], run_id: str, as_json: bool) -> None:
    """Print new lines, also those of processes that start later, until Ctrl-C."""
    while True:
        time.sleep(POLL_SECONDS)
        known = {file.process for file in files}
        with contextlib.suppress(UnknownProcess):  # the folder was emptied
            files += [LogFile(name, path) for name, path in log_files(folder, names).items() if name not in known]
        for line in merged(files, containing=run_id):
            _print(line, as_json)


def _beginning(since: str) -> datetime:
    if not since:
        return BEGINNING
    if re.fullmatch(r"\d+[smhd]", since):
        return datetime.now(UTC) - timedelta(seconds=parse_seconds(since))
    try:
        time_ = datetime.fromisoformat(since)
    except ValueError:
        rule = f"{since} must be a time before now such as 10m, or one such as 2026-01-31T12:00:00Z"
        raise typer.BadParameter(rule, param_hint="--since") from None
    return time_.astimezone(UTC)


def _whole_run(files: Sequence[LogFile], given: str) -> str:
    """Return the id of the run whose beginning is given, of those that the logs name."""
    short = f"run_{given.removeprefix('run_')}"
    if not given or not re.fullmatch(r"run_[0-9a-f]{4,31}", short):
        return given
    found: set[str] = set()
    for line in merged([LogFile(file.process, file.path) for file in files], containing=short):
        found |= {one for one in RUN.findall(line.text) if one.startswith(short)}
        if len(found) > MAX_CANDIDATES:
            break
    if len(found) > 1:
        raise usage_error(f"{given} is the beginning of several ids: {', '.join(sorted(found))}")
    if not found:
        raise Failure(f"the logs have no run whose id begins with {short}")
    return found.pop()


def _print(line: LogLine, as_json: bool) -> None:
    fields = line.fields
    if as_json:
        print_json_line({"process": line.process, "time": line.time, "entry": line.text if fields is None else fields})
        return
    for text in _texts(line, fields):
        console().print(text, soft_wrap=True)


def _texts(line: LogLine, fields: dict[str, Any] | None) -> Iterator[Text]:
    """Yield what is shown of a line: one line, and one for each line of a traceback."""
    clock = f"{line.time.astimezone():%H:%M:%S.%f}"[:-3] if line.time > BEGINNING else " " * 12
    head = Text.assemble((f"{clock} ", "dim"), (f"{line.process:<14} ", "bold"))
    if fields is None:
        yield head + Text(line.text)
        return
    level = str(fields.get("level", ""))
    others = " ".join(f"{key}={_value(value)}" for key, value in fields.items() if key not in HIDDEN)
    style = LEVELS.get(level, "")
    yield head + Text.assemble((str(fields.get("event", "")), style), (f"  {others}", "dim"))
    for row in _cause(fields):
        yield Text(f"    {row}", style="dim")


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else repr(value)


def _cause(fields: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a traceback: through the graph's own code where the line has that, else the whole one."""
    if isinstance(cause := fields.get("cause"), list):
        yield from map(str, cause)
    elif isinstance(chain := fields.get("exception"), list):
        for error in reversed([one for one in chain if isinstance(one, dict)]):
            for frame in error.get("frames", []):
                yield f'File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
            yield f"{error.get('exc_type')}: {error.get('exc_value')}"
