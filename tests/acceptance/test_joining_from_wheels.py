"""A service and a graph in two folders outside of this repository join a mesh, from wheels only."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import venv
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from site import getsitepackages

import psutil
import pytest
import yaml
from graphmesh_local.state_folder import StateFolder

from tests.shipping.contract import FOLDER, NAME, contract, generate_code

ROOT = Path(__file__).parents[2]
OF_SERVICES = ("protos", "services/chassis")
"""The packages of a team's service."""
OF_THE_MESH = ("orchestrator/nodes", "orchestrator", "tools/client", "tools/mesh", "tools/local", "tools/cli")
"""What the environment of a mesh and its graphs has beside them."""
MESH = {
    "edge": {"port": 18080},
    "mesh": {"port": 18081},
    "admin": {"port": 18082},
    "include": ["../shipping/mesh.yaml"],
}
SHIPPING = {
    "service": NAME,
    "descriptor_set": "shipping.binpb",
    "port": 18200,
    "python": ".venv/bin/python",
    "module": "acme_shipping",
    "folder": ".",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of this checkout."""
    out = tmp_path_factory.mktemp("wheels")
    for member in (*OF_SERVICES, *OF_THE_MESH):
        command = [uv(), "build", "--quiet", "--wheel", "--out-dir", str(out), str(ROOT / member)]
        if subprocess.run([*command, "--offline"], capture_output=True, check=False).returncode:
            subprocess.run(command, check=True)  # what builds wheels is not in the cache
    return out


def uv() -> str:
    installed = next(iter(ROOT.glob(".bootstrap/uv-*/bin/uv")), None) or shutil.which("uv")
    assert installed, "make env installs uv"
    return str(installed)


def make_environment(folder: Path, wheels: Path, members: Sequence[str], *paths: Path) -> Path:
    """Make a virtual environment with wheels of this checkout, and return its Python. Other packages are those of this
    process: a plain path has no editable installs."""
    venv.create(folder / ".venv", symlinks=True)
    [packages] = (folder / ".venv/lib").glob("python*/site-packages")
    (packages / "others.pth").write_text("\n".join([*getsitepackages(), *map(str, paths)]) + "\n")
    names = [(ROOT / member / "README.md").read_text().splitlines()[0].removeprefix("# ") for member in members]
    files = [str(file) for name in names for file in wheels.glob(f"{name.replace('-', '_')}-*.whl")]
    python = folder / ".venv/bin/python"
    command = [uv(), "pip", "install", "--quiet", "--no-deps", "--no-index", "--python", str(python), *files]
    subprocess.run(command, check=True)
    return python


def make_service(folder: Path, wheels: Path) -> None:
    """The team's repository: code of the contract, the service, its descriptor set, and its file for a mesh."""
    generated = folder / "generated"
    generated.mkdir(parents=True)
    generate_code(generated)
    shutil.copytree(FOLDER / "acme_shipping", folder / "acme_shipping")
    make_environment(folder, wheels, OF_SERVICES, generated)
    (folder / "shipping.binpb").write_bytes(contract())
    (folder / "mesh.yaml").write_text(yaml.safe_dump({"services": {"shipping": SHIPPING}}))


def make_graph(folder: Path, wheels: Path) -> Path:
    """The repository of the graph's author, with a mesh; returns the command of its environment."""
    folder.mkdir()
    shutil.copy(FOLDER / "graph.py", folder / "parcels.py")
    (folder / "langgraph.json").write_text(
        json.dumps({"dependencies": ["."], "graphs": {"parcels": "./parcels.py:graph"}})
    )
    orchestrator = yaml.safe_load((ROOT / "deploy/mesh.yaml").read_text())["services"]["orchestrator"]
    (folder / "mesh.yaml").write_text(yaml.safe_dump({**MESH, "services": {"orchestrator": orchestrator}}))
    return make_environment(folder, wheels, (*OF_SERVICES, *OF_THE_MESH)).with_name("graphmesh")


@asynccontextmanager
async def graphmesh_up(command: Path, folder: Path) -> AsyncIterator[Process]:
    """Run `graphmesh up` until the body ends."""
    process = await asyncio.create_subprocess_exec(
        *(str(command), "up", "--free-ports", "--mesh", "mesh.yaml", "--graphs", "langgraph.json"),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": "", "COLUMNS": "200"},
    )
    assert process.stdout
    try:
        lines: list[bytes] = []
        async with asyncio.timeout(90):
            while not lines or b"Ctrl-C" not in lines[-1]:
                lines.append(await process.stdout.readline())
                assert lines[-1], b"".join(lines).decode()
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


@pytest.mark.timeout(400)
async def test_a_service_and_a_graph_join_from_wheels_only(wheels: Path, tmp_path: Path) -> None:
    """Each runs in its own environment, without any file of this checkout."""
    make_service(tmp_path / "shipping", wheels)
    graph = tmp_path / "graph"
    command = make_graph(graph, wheels)
    async with graphmesh_up(command, graph):
        processes = StateFolder(graph / ".graphmesh").read().processes
        commands = {name: psutil.Process(one.pid).cmdline() for name, one in processes.items() if name != "envoy"}
        run = await asyncio.to_thread(run_graph, command, graph)
    assert {name: os.path.normpath(command[0]) for name, command in commands.items()} == {
        "shipping": str(tmp_path / "shipping/.venv/bin/python"),
        "orchestrator": str(graph / ".venv/bin/python"),
    }
    assert run.returncode == 0, run.stderr
    assert '"places": ["Riga", "Tartu"]' in json.dumps([json.loads(line) for line in run.stdout.splitlines()])
    assert str(ROOT) not in sources(command.with_name("python"))


def run_graph(command: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    arguments = ["run", "parcels", '{"order_id": "o_1", "city": "Riga"}', "--json"]
    environment = os.environ | {"PYTHONPATH": ""}
    return subprocess.run(
        [command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def sources(python: Path) -> str:
    """Return the files of the packages of this repository in an environment."""
    code = "import graphmesh_cli as a, graphmesh_contracts as b, graphmesh_orchestrator as c; print(a, b, c)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=python.parent).stdout
