"""Adds a new service to the files that list all services: mesh.yaml, pyproject.toml and uv.lock.

The files are edited as text, to keep comments and layout. A new service gets an entry wherever `billing` has one.
"""

import re
from typing import Any

import yaml

from graphmesh_cli.new_service.names import Names

REFERENCE = "billing"
FIRST_PORT = 20100
PORT_STEP = 100
"""The distance between the ports of two services: the replicas of a service take the ports behind its own."""


class UnexpectedLayout(ValueError):
    """A file does not list services in the layout that this module can extend."""


def next_port(mesh: str) -> int:
    """The first port behind all services of `mesh`, the text of mesh.yaml, and their replicas."""
    services = yaml.safe_load(mesh)["services"].values()
    return max((service["port"] for service in services), default=FIRST_PORT - PORT_STEP) + PORT_STEP


def add_to_mesh(mesh: str, names: Names, port: int) -> str:
    """Add the service to the text of mesh.yaml.

    An environment that overrides its last service gets the same override for the new one.
    """
    root, lines = yaml.compose(mesh), mesh.splitlines()
    environments = [_value(environment, "services") for _, environment in _pairs(_value(root, "environments"))]
    _, first, last = _last_entry(_value(root, "services"))
    added = {last: _mesh_entry(names, port, _indent(lines[first]))}
    for services in filter(None, environments):
        name, first, last = _last_entry(services)
        added[last] = [re.sub(rf"\b{name}\b", names.service, line) for line in lines[first : last + 1]]
    for line in sorted(added, reverse=True):
        lines[line + 1 : line + 1] = added[line]
    text = "\n".join(lines) + "\n"
    _check_only_added(yaml.safe_load(mesh), yaml.safe_load(text), names.service)
    return text


def add_to_workspace(pyproject: str, names: Names) -> str:
    """Add the service to every list of services in the text of the root's pyproject.toml, in alphabetical order."""
    lines = pyproject.splitlines()
    references = [number for number, line in enumerate(lines) if _names(line, REFERENCE)]
    if not references:
        raise UnexpectedLayout(f"pyproject.toml lists no {REFERENCE}")
    for number in reversed(references):
        if " | " in lines[number]:
            lines[number] = re.sub(rf"\bgraphmesh_{REFERENCE}\b", rf"\g<0> | graphmesh_{names.service}", lines[number])
            continue
        entry = _renamed(lines[number], names)
        position = number + 1
        while _same_kind(lines[position], entry) and lines[position] < entry:
            position += 1
        lines.insert(position, entry)
    return "\n".join(lines) + "\n"


def add_to_lock(lock: str, names: Names) -> str:
    """Add the service to the text of uv.lock. It has the dependencies of billing, so none has to be resolved."""
    head, *packages = lock.split("\n[[package]]\n")
    reference = f'name = "graphmesh-{REFERENCE}"\n'
    block = next((package for package in packages if package.startswith(reference)), None)
    if block is None:
        raise UnexpectedLayout(f"uv.lock has no graphmesh-{REFERENCE}")
    packages.append(_renamed(block, names))
    packages.sort(key=lambda package: package.partition("\n")[0])
    members = re.search(r"(?<=members = \[\n).*?(?=\])", head, re.DOTALL)
    if members is None:
        raise UnexpectedLayout("uv.lock lists no members")
    listed = sorted([*members[0].splitlines(), f'    "{names.distribution}",'])
    head = head.replace(members[0], "\n".join(listed) + "\n")
    return "\n[[package]]\n".join([head, *(package.rstrip("\n") + "\n" for package in packages)])


def _names(line: str, service: str) -> bool:
    return re.search(rf"(graphmesh[-_]|services/){service}\b", line) is not None


def _same_kind(line: str, other: str) -> bool:
    """Report whether both lines are entries of one list, which differ in names only."""
    return re.sub(r"[\w/-]+", "", line) == re.sub(r"[\w/-]+", "", other)


def _renamed(text: str, names: Names) -> str:
    text = text.replace(f"graphmesh-{REFERENCE}", names.distribution)
    text = text.replace(f"graphmesh_{REFERENCE}", f"graphmesh_{names.service}")
    return text.replace(f"services/{REFERENCE}", f"services/{names.service}")


def _mesh_entry(names: Names, port: int, indent: str) -> list[str]:
    return [
        f"{indent}{names.service}:",
        f"{indent}  service: graphmesh.{names.service}.v1.{names.substitutions['Service']}Service",
        f"{indent}  module: graphmesh_{names.service}",
        f"{indent}  port: {port}",
    ]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _value(node: Any, key: str) -> Any:
    return next((value for name, value in _pairs(node) if name.value == key), None)


def _last_entry(services: Any) -> tuple[str, int, int]:
    """The name of the last service of a mapping, and the first and last line of its entry."""
    if not _pairs(services):
        raise UnexpectedLayout("mesh.yaml has an empty list of services")
    name, value = services.value[-1]
    return name.value, name.start_mark.line, _last_line(value)


def _last_line(node: Any) -> int:
    """The last line of a node. The end mark of a block is behind the blank lines and comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[-1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line)


def _check_only_added(before: Any, after: Any, service: str) -> None:
    """Raises UnexpectedLayout unless the new mesh.yaml differs from the old one by the service only."""
    for document in (after, *(after.get("environments") or {}).values()):
        (document.get("services") or {}).pop(service, None)
    if before != after:
        raise UnexpectedLayout("mesh.yaml is laid out in a way that the entry of a service cannot be added to")
