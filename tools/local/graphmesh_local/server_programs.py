"""The programs of a mesh: Envoy, and a server for each replica of each service that the mesh starts."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from graphmesh_chassis.workload import Workload
from graphmesh_contracts.service_handles import FOLDER_SETTING
from graphmesh_contracts.workloads import PROBER
from graphmesh_mesh.envoy.binary import serve_command
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.service import LISTEN, Listener, Service
from graphmesh_mesh.topology import Mesh

from graphmesh_local.child_process import Program, reserve_port
from graphmesh_local.probes import grpc_health_probe, http_probe
from graphmesh_local.state_folder import StateFolder
from graphmesh_local.trace_receiver import export_settings

ORCHESTRATOR = "orchestrator"
DATA_FILES = {"sql": {"SAMPLE": "sample-warehouse.db"}}
"""Files of a server beside its database, by the setting that names the file."""
OWN_MODULES = "graphmesh_"
STOP_TIMEOUT = 15.0
"""Seconds between SIGTERM and SIGKILL of a server; longer than a drain takes."""
LINGER_SECONDS = 2.5
"""Seconds that one of several replicas still serves after SIGTERM, until two health checks of Envoy have failed."""
INTERPRETER_TIMEOUT = 30.0
"""Seconds in which an interpreter must have found a module."""
FIND_MODULE = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
"""A program that exits with 1 where its interpreter has no such module."""
OWN_ENVIRONMENT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables of this process' environment that must not lead another interpreter to the packages of this one."""


def local_address(listener: Listener) -> str:
    """Return the host:port at which a client on this machine reaches a listener."""
    return f"127.0.0.1:{listener.port}" if listener.address == "0.0.0.0" else listener.target


def replica_names(name: str, service: Service) -> list[str]:
    """Return the names of a service's processes."""
    count = service.replica_count
    return [f"{name}-{number}" for number in range(1, count + 1)] if count > 1 else [name]


def own_services(mesh: Mesh) -> dict[str, Service]:
    """Return the services that the mesh starts."""
    return {name: service for name, service in mesh.services.items() if not service.external}


def mesh_programs(
    mesh: Mesh,
    environment: str,
    folder: StateFolder,
    settings: Mapping[str, str],
    process_settings: Mapping[str, Mapping[str, str]],
) -> list[list[Program]]:
    """Return the programs in groups, which are stopped in reverse: the orchestrator drains while services still run."""
    own = own_services(mesh)
    _check_rates(mesh, [settings, *process_settings.values()])
    names = {f"GRAPHMESH_{name.upper()}_ENVIRONMENT": environment for name in own if environment}
    servers = {name: _servers(mesh, name, folder, {**names, **settings}, process_settings) for name in own}
    orchestrators = servers.pop(ORCHESTRATOR, [])
    return [[server for group in servers.values() for server in group], [_envoy(mesh, folder)], orchestrators]


def _check_rates(mesh: Mesh, settings: Sequence[Mapping[str, str]]) -> None:
    """Check that the replicas of a service with rates count them together.

    Raises:
        MeshError: they would each count alone, or no orchestrator counts the rates of graphs.
    """
    if mesh.graphs and ORCHESTRATOR not in own_services(mesh):
        raise MeshError(f"graphs: services.{ORCHESTRATOR} counts their rates, and the mesh starts none")
    for name, service in own_services(mesh).items():
        has_rates = service.has_rates or (name == ORCHESTRATOR and bool(mesh.graphs))
        redis = f"{_prefix(name)}REDIS_URL"
        is_set = any(one.get(redis) for one in (*settings, service.env, os.environ))
        if service.replicas > 1 and has_rates and not is_set:
            raise MeshError(f"services.{name}: its rates are counted over {service.replicas} replicas: set {redis}")


async def check_programs(mesh: Mesh) -> None:
    """Check that the programs of services exist, before any is started.

    Raises:
        MeshError: an interpreter, a module, a command or a working folder does not exist.
    """
    checks = (_check_program(name, service) for name, service in own_services(mesh).items())
    results = await asyncio.gather(*checks, return_exceptions=True)
    errors = [one for one in results if one is not None]
    if missing := [str(one) for one in errors if isinstance(one, MeshError)]:
        raise MeshError("; ".join(missing))
    if errors:
        raise errors[0]


async def _check_program(name: str, service: Service) -> None:
    if service.folder and not service.folder.is_dir():
        raise MeshError(f"services.{name}.folder: {service.folder} is not a folder")
    if service.python:
        await _check_interpreter(name, service.python, service)
    elif service.module and not service.folder and not _has_module(service.module):
        advice = f": install {service.module.replace('_', '-')}" if service.module.startswith(OWN_MODULES) else ""
        raise MeshError(f"services.{name}.module: {sys.executable} has no module {service.module}{advice}")


def _has_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


async def _check_interpreter(name: str, python: Path, service: Service) -> None:
    if not python.is_file():
        raise MeshError(f"services.{name}.python: {python} does not exist")
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(python), "-c", FIND_MODULE, service.module or ""),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **_own_environment(service)},
            cwd=service.folder,
        )
    except OSError as error:
        raise MeshError(f"services.{name}.python: {python} cannot be executed: {error.strerror}") from error
    try:
        async with asyncio.timeout(INTERPRETER_TIMEOUT):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise MeshError(f"services.{name}.python: {python} does not answer in {INTERPRETER_TIMEOUT:g} s") from None
    if process.returncode:
        reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise MeshError(
            f"services.{name}.module: {python} has no module {service.module}" + (f" ({reason})" if reason else "")
        )


def _servers(
    mesh: Mesh,
    name: str,
    folder: StateFolder,
    settings: Mapping[str, str],
    process_settings: Mapping[str, Mapping[str, str]],
) -> list[Program]:
    """Return a program for each replica of a service."""
    service = mesh.services[name]
    return [
        _server(mesh, name, label, listener, folder, {**settings, **process_settings.get(label, {})})
        for label, listener in zip(replica_names(name, service), service.replica_listeners, strict=True)
    ]


def _server(
    mesh: Mesh, name: str, label: str, listener: Listener, folder: StateFolder, settings: Mapping[str, str]
) -> Program:
    service = mesh.services[name]
    metrics = "" if mesh.telemetry is None or service.command else f"127.0.0.1:{reserve_port()}"
    own = {
        **_own_environment(service),
        **({f"{_prefix(name)}METRICS_LISTEN": metrics} if metrics else {}),
        **_environment(mesh, name, service, listener, folder),
        **(_proxy_variables(mesh, name) if service.command else {}),
    }
    return Program(
        name=label,
        argv=_argv(service, listener),
        log=folder.logs / f"{label}.log",
        probe=grpc_health_probe(local_address(listener), service.service, _prober(mesh, name)),
        address=listener.target,
        metrics=metrics,
        env={**own, **settings, **service.env},
        withheld=_settings_of_others(mesh, name),
        folder=service.folder,
        stop_timeout=STOP_TIMEOUT,
    )


def _proxy_variables(mesh: Mesh, name: str) -> dict[str, str]:
    """Return the variables by which HTTP clients of any language call through Envoy."""
    if proxy := mesh.egress_listeners.get(name):
        return dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), f"http://{local_address(proxy)}")
    return {}


def _prober(mesh: Mesh, name: str) -> tuple[Workload, str] | None:
    tls = mesh.mesh.tls
    if tls is None or not mesh.services[name].has_mutual_tls:
        return None
    return Workload(tls.certificate(PROBER), tls.authorities), name


def _settings_of_others(mesh: Mesh, name: str = "") -> tuple[str, ...]:
    """Return the prefixes of the other servers' settings: only the service that needs a secret gets it."""
    own, prefixes = _prefix(name), map(_prefix, mesh.services)
    return tuple(prefix for prefix in prefixes if not name or not own.startswith(prefix))


def _prefix(name: str) -> str:
    return f"GRAPHMESH_{name.upper()}_"


def _argv(service: Service, listener: Listener) -> list[str]:
    if service.command:
        return [part.replace(LISTEN, listener.target) for part in service.command]
    return [str(service.python or sys.executable), "-m", service.module or ""]


def _own_environment(service: Service) -> dict[str, str]:
    """Return the variables to empty for a program that is not of this Python environment."""
    return dict.fromkeys(OWN_ENVIRONMENT, "") | dict(service.env) if service.python or service.command else {}


def _environment(mesh: Mesh, name: str, service: Service, listener: Listener, folder: StateFolder) -> dict[str, str]:
    """Return a server's settings. The locations of its data are only set where the user's environment does not."""
    prefix = _prefix(name)
    data = {"DATABASE_URL": f"sqlite+aiosqlite:///{folder.databases / name}.db"}
    data |= {setting: str(folder.databases / file) for setting, file in DATA_FILES.get(name, {}).items()}
    settings = {setting: value for setting, value in data.items() if f"{prefix}{setting}" not in os.environ}
    settings |= {"LISTEN": listener.target, "POLICY": service.overrides.dump(), "VALIDATE_RESPONSES": "true"}
    if proxy := mesh.egress_listeners.get(name):
        settings["EGRESS"] = f"http://{local_address(proxy)}"
    settings |= export_settings(mesh, name, folder)
    if service.replicas > 1:
        settings["LINGER_SECONDS"] = str(LINGER_SECONDS)
    if (tls := mesh.mesh.tls) and service.has_mutual_tls:
        settings |= {"CERTIFICATE": str(tls.certificate(name)), "AUTHORITIES": str(tls.authorities)}
    signs_calls = mesh.mesh.identity == "tokens"
    if name != ORCHESTRATOR:
        if signs_calls and name not in mesh.edge.services:
            settings["CALL_KEYS"] = str(folder.call_keys)
        return {f"{prefix}{setting}": value for setting, value in settings.items()}
    policies = {tool: asdict(one.overrides) for one in mesh.services.values() for tool in (one.service, *one.beside)}
    settings |= {"MESH": local_address(mesh.mesh), "TOOL_POLICIES": json.dumps(policies)}
    if mesh.graphs:
        settings["GRAPH_RATES"] = json.dumps({graph: limits.tenant_rate for graph, limits in mesh.graphs.items()})
    if signs_calls:
        settings["CALL_KEY"] = str(folder.call_key)
    return {FOLDER_SETTING: str(folder.contracts)} | {f"{prefix}{key}": value for key, value in settings.items()}


def _envoy(mesh: Mesh, folder: StateFolder) -> Program:
    return Program(
        name="envoy",
        argv=serve_command(),
        log=folder.logs / "envoy.log",
        withheld=_settings_of_others(mesh),
        probe=http_probe(f"http://{local_address(mesh.admin)}/ready"),
        address=mesh.edge.target,
        folder=folder.envoy,
    )
