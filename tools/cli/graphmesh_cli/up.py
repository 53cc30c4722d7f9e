"""`graphmesh up`: the whole mesh on this machine, until Ctrl-C."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from graphmesh_cli.mesh import MeshError
from graphmesh_cli.processes import Child, NotReady, OnDeath, ProcessDied, State
from graphmesh_cli.running import MESH_FILE, RunningMesh, running_mesh
from graphmesh_cli.state import DEFAULT_STATE, MeshBusy

STYLES = {
    State.NEW: "dim",
    State.STARTING: "yellow",
    State.READY: "green",
    State.DIED: "bold red",
    State.STOPPED: "dim",
}


def up(
    mesh: Annotated[Path, typer.Option(help="Addresses, replicas and overrides of the mesh.")] = MESH_FILE,
    state: Annotated[Path, typer.Option(help="Folder for databases, logs and Envoy's files.")] = DEFAULT_STATE,
    environment: Annotated[str, typer.Option(help="The environment of the mesh file to lay over it.")] = "",
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Take free ports instead of the file's.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="When a process dies, keep the others.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="When a process dies, start it again.")] = False,
) -> None:
    """Start Envoy, all services and the orchestrator, and keep them running until Ctrl-C.

    Everything is kept in the state folder. A second Ctrl-C does not wait for calls under way. When a process dies,
    its last lines are shown and the mesh is stopped, unless told otherwise. Edits of the mesh file reach Envoy at once.
    """
    on_death = OnDeath.RESTART if restart else OnDeath.KEEP_GOING if keep_going else OnDeath.STOP
    display = Display(Console())
    with ExitStack() as stack:
        stack.callback(display.close)
        code = asyncio.run(_up(display, mesh, state, environment, free_ports, on_death))
    raise typer.Exit(code)


async def _up(
    display: "Display", mesh: Path, state: Path, environment: str, free_ports: bool, on_death: OnDeath
) -> int:
    async def serve() -> int:
        async with running_mesh(
            mesh,
            state,
            environment=environment,
            free_ports=free_ports,
            on_death=on_death,
            on_change=display.changed,
            on_notice=display.notice,
        ) as running:
            display.up(running)
            await running.supervisor.failure()
            display.notice(
                "the others are stopped; --keep-going would leave them running, --restart would bring it back"
            )
            return 1

    serving = asyncio.create_task(serve(), name="mesh")
    _stop_on_signals(serving, display)
    try:
        return await serving
    except asyncio.CancelledError:
        return 0
    except ProcessDied:
        return 1  # It is on display.
    except (MeshError, MeshBusy, NotReady) as error:
        display.error(str(error))
        return 1


def _stop_on_signals(serving: "asyncio.Task[int]", display: "Display") -> None:
    """The first signal stops in order, the second at once."""
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:
            display.kill()
            return
        stopping = True
        display.notice("stopping; once more to insist")
        serving.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


class Display:
    """What a person sees: a live line per process while starting, on a terminal; else a line per change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._children: dict[str, Child] = {}
        self._live: Live | None = None

    def changed(self, child: Child) -> None:
        self._children[child.program.name] = child
        if child.state is State.DIED:
            self.close()
            self.error(str(child.last_death))
        elif self._live is None and self._console.is_terminal and child.starts == 1 and child.state is State.STARTING:
            self._live = Live(get_renderable=self.table, console=self._console, refresh_per_second=10)
            self._live.start()
        elif child.state is State.READY and (self._live is None):
            self._console.print(self.row_text(child))

    def up(self, running: RunningMesh) -> None:
        self.close()
        for label, value in endpoints(running).items():
            self._console.print(f"[bold]{label:8}[/] {escape(value)}", highlight=False, soft_wrap=True)

    def notice(self, text: str) -> None:
        self._console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def error(self, text: str) -> None:
        self._console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)

    def kill(self) -> None:
        for child in self._children.values():
            child.kill()

    def close(self) -> None:
        """Leave the live lines as they are."""
        if self._live:
            self._live.stop()
            self._live = None

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for child in self._children.values():
            table.add_row(*cells(child))
        return table

    def row_text(self, child: Child) -> Text:
        return Text("  ").join(cells(child))


def cells(child: Child) -> list[Text]:
    """Name, address, pid, health, seconds."""
    state = Text(f"{child.state.value:8}", style=STYLES[child.state])
    texts = [f"{child.program.name:14}", f"{child.program.address:21}", f"pid {child.pid:<8}"]
    return [*map(Text, texts), state, Text(f"{child.seconds:5.1f} s")]


def endpoints(running: RunningMesh) -> Mapping[str, str]:
    """Where things are, for people."""
    return {
        "edge": f"http://{running.edge}  gRPC and JSON, for clients",
        "mesh": f"{running.mesh.mesh.target}  gRPC to every service",
        "envoy": f"http://{running.mesh.admin.target}  its admin page",
        "logs": str(running.folder.logs),
        "stop": "Ctrl-C",
    }
