"""The commands of `graphmesh`, each imported when it runs: `graphmesh --help` imports none.

A new command is one line in `COMMANDS`. What it names is a function, whose parameters become options and whose
docstring becomes the help, or a `typer.Typer` with commands of its own (give it a callback, so that it stays a group
when it has only one). Other packages add commands by entry points of the group `graphmesh.commands`.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """A command, before it is imported."""

    target: str
    """module:name."""
    summary: str
    """Its line in `graphmesh --help`."""


COMMANDS = {
    "demo": Entry(
        "graphmesh_cli.commands.demo:demo", "Start a mesh with sample data and send it three support requests."
    ),
    "up": Entry("graphmesh_cli.commands.up:up", "Start the whole mesh on this machine and keep it running."),
    "run": Entry("graphmesh_cli.commands.runs:run", "Begin a run of a graph and watch it."),
    "watch": Entry("graphmesh_cli.commands.runs:watch", "Show what happens in a run, from any event on."),
    "resume": Entry("graphmesh_cli.commands.runs:resume", "Answer what a run waits for, and watch it go on."),
    "runs": Entry("graphmesh_cli.commands.runs:runs", "List the newest runs."),
    "cancel": Entry("graphmesh_cli.commands.runs:cancel", "End a run."),
    "thread": Entry("graphmesh_cli.commands.thread:commands", "List, read, fork and delete threads."),
    "approve": Entry(
        "graphmesh_cli.commands.approve:approve", "Agree to a call of a tool, or list what waits for consent."
    ),
    "audit": Entry("graphmesh_cli.commands.audit:audit", "Show every effect: who caused it, why, and how it ended."),
    "prune": Entry(
        "graphmesh_cli.commands.prune:prune", "Take away what nobody has used for long: history, or threads."
    ),
    "import": Entry(
        "graphmesh_cli.commands.import_rows:import_rows", "Call an RPC once for each row of a file or a query."
    ),
    "import-threads": Entry(
        "graphmesh_cli.commands.import_threads:import_threads_command",
        "Take over the threads of LangGraph's own savers.",
    ),
    "ingest": Entry("graphmesh_cli.commands.ingest:ingest_command", "Store a folder of Markdown in retrieval."),
    "new-service": Entry("graphmesh_cli.commands.new_service:new_service", "Make a complete tool service of your own."),
    "render": Entry("graphmesh_cli.commands.render:commands", "Write what is made from mesh.yaml and the protos."),
}


PLUGINS = "graphmesh.commands"
"""The group of entry points of commands that other packages bring, such as `chaos` and `bench`."""


@cache
def commands() -> Mapping[str, Entry]:
    """Return the commands of this package and of those installed beside it.

    A plug-in's line in the help is the summary of its distribution, so that the help imports no command.
    """
    plugins = {
        point.name: Entry(point.value, point.dist.metadata["Summary"])
        for point in entry_points(group=PLUGINS)
        if point.dist
    }
    return {**COMMANDS, **dict(sorted(plugins.items()))}


def load(name: str) -> Any:
    """Import the command `name`."""
    module, _, attribute = commands()[name].target.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        group = typer.main.get_command(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False)
    single.command(name)(found)
    return typer.main.get_command(single)


class Commands(TyperGroup):
    """The commands; only the one that is called is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return TyperCommand(cmd_name, help=commands()[cmd_name].summary) if cmd_name in commands() else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and name in commands() else command, rest


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def graphmesh() -> None:
    """LangGraph graphs in production: every costly node a gRPC service behind Envoy."""
