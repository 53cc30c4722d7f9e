"""The commands of `graphmesh`, each imported when it runs: `graphmesh --help` imports none.

A new command is one entry of `COMMANDS`. Its target is a function, whose parameters become options and whose docstring
becomes the help, or a `typer.Typer` with commands of its own (give it a callback, so that it stays a group when it has
only one). Other packages add commands by entry points of the group `graphmesh.commands`.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points, version
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from graphmesh_cli.failures import Failure, exit_code_of


class Entry(NamedTuple):
    """A command, before it is imported."""

    target: str
    """module:name."""
    summary: str
    """Its line in `graphmesh --help`."""


COMMANDS = {
    "demo": Entry("graphmesh_cli.commands.demo:demo", "Start a mesh with sample data and show each agent at work."),
    "up": Entry("graphmesh_cli.commands.up:up", "Start the whole mesh on this machine and keep it running."),
    "run": Entry("graphmesh_cli.commands.runs:run", "Begin a run of a graph and watch it."),
    "watch": Entry("graphmesh_cli.commands.runs:watch", "Show the events of a run."),
    "resume": Entry("graphmesh_cli.commands.runs:resume", "Answer the questions of a parked run and watch it."),
    "runs": Entry("graphmesh_cli.commands.run_list:runs", "List the newest runs."),
    "cancel": Entry("graphmesh_cli.commands.run_list:cancel", "Cancel a run."),
    "graphs": Entry("graphmesh_cli.commands.graphs:graphs", "List the graphs and the inputs that they take."),
    "thread": Entry("graphmesh_cli.commands.thread:commands", "List, read, fork and delete threads."),
    "store": Entry(
        "graphmesh_cli.commands.store:commands", "Read and change what graphs remember beyond their threads."
    ),
    "assistants": Entry(
        "graphmesh_cli.commands.assistants:commands", "Manage named configurations of graphs, with versions."
    ),
    "schedules": Entry("graphmesh_cli.commands.schedules:commands", "Manage runs that begin again and again."),
    "approve": Entry("graphmesh_cli.commands.approve:approve", "Approve or deny a call of a tool, or list approvals."),
    "feedback": Entry("graphmesh_cli.commands.feedback:feedback", "Record what you think of a run."),
    "status": Entry("graphmesh_cli.commands.status:status", "Show how graphs and services do, on one screen."),
    "trace": Entry("graphmesh_cli.commands.trace:trace", "Show where the time of a run went."),
    "logs": Entry("graphmesh_cli.commands.logs:logs", "Show the logs of the processes of a mesh on this machine."),
    "delivery": Entry("graphmesh_cli.commands.delivery:commands", "List webhook calls, and retry one that failed."),
    "audit": Entry("graphmesh_cli.commands.audit:audit", "List every effect with its caller, run and result."),
    "call-keys": Entry("graphmesh_cli.commands.call_keys:call_keys", "Make or replace the keys that sign calls."),
    "certificates": Entry("graphmesh_cli.commands.certificates:certificates", "Issue the certificates of workloads."),
    "token": Entry("graphmesh_cli.commands.token:token", "Print a token for a mesh that requires them."),
    "usage": Entry("graphmesh_cli.commands.usage:usage", "Show tokens and cost of models, and their budgets."),
    "prune": Entry("graphmesh_cli.commands.prune:prune", "Delete history or threads not used for a given time."),
    "import": Entry(
        "graphmesh_cli.commands.import_rows:import_rows_command", "Call an RPC once for each row of a file or a query."
    ),
    "import-threads": Entry(
        "graphmesh_cli.commands.import_threads:import_threads_command",
        "Copy the threads of LangGraph's own savers.",
    ),
    "ingest": Entry("graphmesh_cli.commands.ingest:ingest_command", "Store a folder of documents in retrieval."),
    "sql": Entry("graphmesh_cli.commands.sql:sql", "Run one SELECT on the warehouse, or describe its tables."),
    "chart": Entry("graphmesh_cli.commands.chart:chart", "Draw the chart in a run's output."),
    "statement": Entry(
        "graphmesh_cli.commands.statement:statement", "Show what a customer was invoiced, has paid and has got back."
    ),
    "policy": Entry("graphmesh_cli.commands.policy:commands", "Set a tenant's rules for refunds, tickets and agents."),
    "new-service": Entry("graphmesh_cli.commands.new_service:new_service", "Create a complete tool service."),
    "protos": Entry("graphmesh_cli.commands.protos:commands", "Generate Python packages from protos, and check them."),
    "render": Entry("graphmesh_cli.commands.render:commands", "Render files from mesh.yaml and the protos."),
}


PLUGINS = "graphmesh.commands"
"""The group of entry points by which other packages add commands, such as `chaos` and `bench`."""


@cache
def commands() -> Mapping[str, Entry]:
    """Return the commands of this package and of installed plug-ins. A plug-in cannot replace a command.

    A plug-in's line in the help is the summary of its distribution, so that the help imports no command.
    """
    plugins = {
        point.name: Entry(point.value, (point.dist and point.dist.metadata["Summary"]) or "")
        for point in entry_points(group=PLUGINS)
    }
    return {**COMMANDS, **{name: plugins[name] for name in sorted(plugins.keys() - COMMANDS.keys())}}


def load(name: str) -> Any:
    """Import the command `name`.

    Raises:
        Failure: its target cannot be imported.
    """
    target = commands()[name].target
    module, _, attribute = target.partition(":")
    try:
        command = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise Failure(f"the command {name} cannot be loaded from {target}: {error}") from error
    if isinstance(command, typer.Typer):
        command.rich_markup_mode = None
        group = typer.main.get_command(command)
        group.name = name
        _show_whole_summaries(group)
        return group
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(command)
    return typer.main.get_command(single)


def _show_whole_summaries(group: Any) -> None:
    """Let a group's help show the first sentence of each command, which is shortened otherwise."""
    for command in group.commands.values():
        command.short_help = (command.help or "").partition("\n\n")[0].replace("\n", " ")


class Commands(TyperGroup):
    """The commands of `graphmesh`; only the one that is called is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        summary = commands()[cmd_name].summary if cmd_name in commands() else ""
        return TyperCommand(cmd_name, help=summary, short_help=summary) if summary else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and name in commands() else command, rest

    def main(  # type: ignore[override]  # with the options that are passed on by name
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run the command that `args` name, and exit with its code: every error is shown here, in one form."""
        words = sys.argv[1:] if args is None else list(args)
        command = partial(super().main, words, standalone_mode=False, **extra)
        return sys.exit(exit_code_of(command, words)) if standalone_mode else command()


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"graphmesh {version('graphmesh-cli')}")
        raise typer.Exit


@app.callback()
def graphmesh(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """LangGraph graphs in production: every costly node a gRPC service behind Envoy."""
