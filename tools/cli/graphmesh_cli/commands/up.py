"""`graphmesh up`: run the whole mesh on this machine until Ctrl-C."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from graphmesh_chassis.settings import DEVELOPMENT
from graphmesh_local.child_process import Child, ProcessError, State
from graphmesh_local.graph_reloader import reload_graphs
from graphmesh_local.project_files import ProjectFiles
from graphmesh_local.running_mesh import GRAPHS_SETTING, RunningMesh, running_mesh
from graphmesh_local.state_folder import DEFAULT_STATE, MeshBusy
from graphmesh_local.supervisor import OnDeath
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.topology import Mesh
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from graphmesh_cli.commands.connection import mesh_target
from graphmesh_cli.commands.failed_runs import show_failed_runs
from graphmesh_cli.failures import ExitCode

ENVIRONMENT_SETTING = "GRAPHMESH_ORCHESTRATOR_ENVIRONMENT"
DRAIN_SETTING = "GRAPHMESH_ORCHESTRATOR_DRAIN_SECONDS"
RELOAD_DRAIN_SECONDS = 2.0
"""Seconds that an orchestrator drains with --reload, while calls wait. Nodes that take longer are executed again."""
RELOAD_SECONDS = 20.0
"""Seconds that calls wait for an orchestrator with --reload."""
WITHOUT_SETTING = "GRAPHMESH_ORCHESTRATOR_WITHOUT"
STYLES = {
    State.NEW: "dim",
    State.STARTING: "yellow",
    State.READY: "green",
    State.DIED: "bold red",
    State.STOPPED: "dim",
}


def up(
    mesh: Annotated[
        Path | None,
        typer.Option(help="Addresses, replicas and overrides; default: deploy/mesh.yaml, else the sample's."),
    ] = None,
    state: Annotated[Path, typer.Option(help="Folder for databases, logs and Envoy's files.")] = DEFAULT_STATE,
    graphs: Annotated[
        Path | None,
        typer.Option(envvar="GRAPHMESH_GRAPHS", help="The langgraph.json of the graphs; default: the sample's."),
    ] = None,
    environment: Annotated[str, typer.Option(help="The environment of the mesh file to apply.")] = "",
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Use free ports instead of the file's.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="When a process dies, start it again.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="When a process dies, stop the others.")] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="When files of the graphs' project change, reload the graphs.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Run the graphs without this key of langgraph.json, which is not supported."),
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Load the sample shop, unless it is loaded.")] = False,
) -> None:
    """Start Envoy, all services and the orchestrator, and keep them running until Ctrl-C.

    All data is stored in the state folder. Ctrl-C waits for active calls to end; a second one does not. Callers need a
    token: commands make theirs, and graphmesh token prints one. When a process dies, its last lines are shown; without
    --restart or --fail-fast the others keep running. Edits of the mesh file are applied to Envoy at once. With --reload
    the orchestrators are replaced when the graphs change: their runs continue, and an edit that cannot be loaded is
    reported and changes nothing.
    """
    on_death = OnDeath.RESTART if restart else OnDeath.STOP if fail_fast else OnDeath.CONTINUE
    display = Display(Console(), on_death)
    starting = running_mesh(
        mesh,
        state,
        environment=environment,
        free_ports=free_ports,
        on_death=on_death,
        on_change=display.show_change,
        notify=display.notify,
        orchestrator_python=partial(_interpreter, _project(graphs), display, without or []),
        settings=_settings(graphs, environment, without or [], reload=reload),
        receiver=True,
        reroute=_waiting_at_edge if reload else lambda mesh: mesh,
    )
    files = ProjectFiles(_project(graphs), state) if reload else None
    raise typer.Exit(asyncio.run(_up(starting, display, sample, files)))


def _settings(graphs: Path | None, environment: str, without: list[str], *, reload: bool) -> dict[str, str]:
    """Return the settings of the servers. Without an environment it is development: clients see causes of failures."""
    settings = {} if graphs is None else {GRAPHS_SETTING: str(graphs.resolve())}
    if not environment and ENVIRONMENT_SETTING not in os.environ:
        settings[ENVIRONMENT_SETTING] = DEVELOPMENT
    if without:
        settings[WITHOUT_SETTING] = json.dumps(without)
    if reload and DRAIN_SETTING not in os.environ:
        settings[DRAIN_SETTING] = str(RELOAD_DRAIN_SECONDS)
    return settings


def _waiting_at_edge(mesh: Mesh) -> Mesh:
    """Let calls wait while the only orchestrator is replaced."""
    edge = mesh.edge.model_copy(update={"wait": mesh.edge.wait or RELOAD_SECONDS})
    return mesh.model_copy(update={"edge": edge})


def _project(graphs: Path | None) -> Path:
    return graphs or Path(os.environ.get(GRAPHS_SETTING, "langgraph.json"))


async def _interpreter(project: Path, display: "Display", without: list[str], environments: Path) -> Path | None:
    from graphmesh_cli.project_environment import project_interpreter

    return await project_interpreter(project, environments, display.notify, without)


async def _up(
    starting: AbstractAsyncContextManager[RunningMesh],
    display: "Display",
    sample: bool,
    files: ProjectFiles | None,
) -> int:
    """Run the mesh to its end, and return the exit code. The graphs are reloaded when `files` change."""
    serving = asyncio.create_task(_serve_until_failure(starting, display, sample, files), name="mesh")
    _stop_on_signals(serving, display)
    try:
        await serving
    except asyncio.CancelledError:
        return 0
    except MeshError as error:
        display.error(str(error))
        return ExitCode.USAGE
    except (MeshBusy, ProcessError) as error:
        display.error(str(error))
    return ExitCode.FAILED


async def _serve_until_failure(
    starting: AbstractAsyncContextManager[RunningMesh],
    display: "Display",
    sample: bool,
    files: ProjectFiles | None,
) -> None:
    seen = await asyncio.to_thread(files.stamps) if files else {}
    async with AsyncExitStack() as stack:
        with display.starting():
            running = await stack.enter_async_context(starting)
        if sample:
            await _load_sample(running, display)
        display.show_endpoints(running)
        failures = asyncio.create_task(show_failed_runs(running, display.notify), name="failed runs")
        stack.callback(failures.cancel)
        if files:
            reloading = reload_graphs(running.supervisor, running.folder.path, files, seen, display.notify)
            stack.callback(asyncio.create_task(reloading, name="reload graphs").cancel)
        await running.supervisor.wait_failure()
        display.notify("stopping the others")


async def _load_sample(running: RunningMesh, display: "Display") -> None:
    from graphmesh_cli.commands.sample_shop import load_sample_shop

    display.notify("loading the sample shop")
    async with mesh_target("", running.folder.path).channel() as channel:
        display.notify(f"sample shop: {await load_sample_shop(channel)}")


def _stop_on_signals(serving: "asyncio.Task[None]", display: "Display") -> None:
    """Stop the groups in order at the first signal, and kill all processes at the second."""
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:
            display.kill()
            return
        stopping = True
        display.notify("stopping; press Ctrl-C again to kill all processes")
        serving.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


class Display:
    """The output of `graphmesh up`: on a terminal a live table while processes start, else a line for each change."""

    def __init__(self, console: Console, on_death: OnDeath) -> None:
        self._console = console
        self._on_death = on_death
        self._children: dict[str, Child] = {}
        self._starting = False

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Do not show deaths while the body runs: the caller shows the error of the start."""
        live = Live(get_renderable=self._table, console=self._console, refresh_per_second=10)
        self._starting = True
        with live if self._console.is_terminal else nullcontext():
            yield
        self._starting = False

    def show_change(self, child: Child) -> None:
        self._children[child.program.name] = child
        if child.state is State.READY and not (self._starting and self._console.is_terminal):
            self._console.print(Text("  ").join(cells(child)))
        elif child.state is State.DIED and not self._starting:
            self._show_death(child)

    def show_endpoints(self, running: RunningMesh) -> None:
        for label, value in endpoints(running).items():
            self._console.print(f"[bold]{label:8}[/] {escape(value)}", highlight=False, soft_wrap=True)

    def notify(self, text: str) -> None:
        self._console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def error(self, text: str) -> None:
        self._console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)

    def kill(self) -> None:
        """Send SIGKILL to all processes."""
        for child in self._children.values():
            child.kill()

    def _show_death(self, child: Child) -> None:
        self.error(str(child.last_death))
        if self._on_death is OnDeath.CONTINUE:
            self.notify(f"the others keep running; the command to start it again:\n  {child.program.command}")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for child in self._children.values():
            table.add_row(*cells(child))
        return table


def cells(child: Child) -> list[Text]:
    """Return name, address, pid, state and seconds of the start."""
    state = Text(f"{child.state.value:8}", style=STYLES[child.state])
    texts = [f"{child.program.name:14}", f"{child.program.address:21}", f"pid {child.pid:<8}"]
    return [*map(Text, texts), state, Text(f"{child.seconds:5.1f} s")]


def endpoints(running: RunningMesh) -> Mapping[str, str]:
    """Return the addresses and folders to display, by label."""
    return {
        "edge": f"http://{running.edge}  gRPC and JSON, for clients",
        "mesh": f"{running.mesh.mesh.target}  gRPC to every service, for workloads with a certificate",
        "envoy": f"http://{running.mesh.admin.target}  its admin page",
        "logs": str(running.folder.logs),
        "stop": "Ctrl-C",
    }
