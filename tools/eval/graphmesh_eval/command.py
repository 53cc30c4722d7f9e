"""The command `graphmesh eval`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_cli.commands.connection import DEFAULT_TENANT, mesh_target, running_mesh_of
from graphmesh_cli.commands.sample_shop import load_sample_shop
from graphmesh_cli.commands.service_calls import ServiceCalls
from graphmesh_cli.failures import ExitCode, Failure, of_mesh
from graphmesh_local.child_process import ProcessError
from graphmesh_local.development_issuer import token_source
from graphmesh_local.running_mesh import PROJECT, running_mesh
from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.errors import MeshError
from rich.console import Console

from graphmesh_eval.cases import DatasetError, read_dataset
from graphmesh_eval.evaluation import COMMAND, CONCURRENT, Evaluation, Plan, Played, Target, surroundings_of
from graphmesh_eval.evaluation import evaluate as play
from graphmesh_eval.models import HOSTILE, OFFLINE, ModelUnavailable, model_settings
from graphmesh_eval.person import Manner
from graphmesh_eval.report import show
from graphmesh_eval.summary import as_json, summarize

STATE = Path(".graphmesh/eval")
DATASET = "dataset.jsonl"
WIDTH = 120
"""Of tables that are written to a file."""


def evaluate(
    agent: Annotated[str, typer.Argument(help="A graph of langgraph.json.")],
    dataset: Annotated[
        Path | None, typer.Option(help="The cases; by default dataset.jsonl beside the agent.", dir_okay=False)
    ] = None,
    model: Annotated[str, typer.Option(help="offline, tiny, hostile, or VENDOR:NAME.")] = OFFLINE,
    base_url: Annotated[str, typer.Option(help="The address of the model's server, with VENDOR:NAME.")] = "",
    person: Annotated[
        Manner, typer.Option(help="strict: accepts what the case expects; careless: accepts every proposal.")
    ] = Manner.STRICT,
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="Plays of each case.")] = 1,
    limit: Annotated[int, typer.Option(min=0, help="Cases, chosen by the seed; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the order, of the intervals and of the hostile model.")] = 0,
    concurrent: Annotated[int, typer.Option(min=1, max=64, help="Cases at a time.")] = CONCURRENT,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the numbers and every case to this file.", dir_okay=False)
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Play on the running mesh of this state folder, with its model.")
    ] = None,
) -> None:
    """Measure an agent on a dataset of cases, by the records that it leaves and not by what it claims.

    Starts a mesh of its own with the sample shop and the model, unless --state names a running one that has them. Exits
    with 1 if money moved that should not have.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    try:
        folder = agent_folder(agent) if dataset is None else dataset.parent
        cases = read_dataset(dataset or folder / DATASET)
        surroundings = surroundings_of(folder, is_hostile=model == HOSTILE)
        plan = Plan(agent, cases, repeat, seed, limit, person, surroundings, concurrent)
        place = Place(model, base_url, seed, state)
        evaluation = asyncio.run(_evaluate(console, plan, place))
    except (DatasetError, ModelUnavailable, MeshError) as error:
        raise Failure(str(error), exit_code=ExitCode.USAGE) from None
    except ProcessError as error:
        raise Failure(str(error)) from None
    except GraphmeshError as error:
        raise of_mesh(error, ExitCode.FAILED) from error
    summary = summarize(evaluation, seed)
    title = f"{agent}: {model} model, {person.value} person, seed {seed}"
    show(console, title, summary, evaluation.played)
    if json_file is not None:
        stated = {"agent": agent, "model": model, "person": person.value, "seed": seed, "repeat": repeat}
        json_file.write_text(json.dumps(as_json(evaluation, summary, stated), indent=1, ensure_ascii=False) + "\n")
    if summary.failed:
        raise typer.Exit(1)


def agent_folder(agent: str, project: Path = PROJECT) -> Path:
    """Return the folder of an agent's module. Raises DatasetError where the project does not have it."""
    try:
        graphs = json.loads(project.read_text(encoding="utf-8"))["graphs"]
        entry = graphs[agent]
        path = entry["path"] if isinstance(entry, dict) else entry
        return (project.parent / str(path).rpartition(":")[0]).parent
    except OSError as error:
        raise DatasetError(f"{project}: {error.strerror}: run it where the agent's project is") from None
    except (ValueError, KeyError, TypeError):
        raise DatasetError(f"{project}: has no graph {agent}") from None


@dataclass(frozen=True)
class Place:
    """Where the cases are played."""

    model: str
    base_url: str
    seed: int
    state: Path | None
    """Of a running mesh; None: a mesh is started."""

    @asynccontextmanager
    async def target(self) -> AsyncIterator[Target]:
        """Raises ProcessError, MeshError, ModelUnavailable and GraphmeshError."""
        if self.state is not None:
            async with mesh_target("", self.state).channel() as channel:
                edge, folder = running_mesh_of(self.state).edge, StateFolder(self.state)
                yield Target(edge, _calls(channel), partial(token_source, folder, DEFAULT_TENANT))
            return
        StateFolder(STATE).delete()
        async with (
            model_settings(self.model, self.base_url, self.seed) as settings,
            running_mesh(state=STATE, free_ports=True, settings=settings) as mesh,
            mesh.channel() as channel,
        ):
            await load_sample_shop(channel)
            yield Target(mesh.edge, _calls(channel), partial(mesh.token, DEFAULT_TENANT))


def _calls(channel: Channel) -> ServiceCalls:
    return ServiceCalls(channel, DEFAULT_TENANT, COMMAND)


async def _evaluate(console: Console, plan: Plan, place: Place) -> Evaluation:
    count = len(plan.plays)
    done = 0
    with console.status("Starting a mesh") as status:

        def show_progress(_: Played) -> None:
            nonlocal done
            done += 1
            status.update(f"{done} of {count} cases")

        async with place.target() as target:
            return await play(target, plan, show_progress)
