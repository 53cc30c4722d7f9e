"""Where the repository lists its services: the entries of a new one are written beside those of the others.

As text, so that comments and layout stay; a new service gets, list by list, what `billing` has.
"""

import re
from typing import Any

import yaml

from graphmesh_cli.new_service.words import Words

REFERENCE = "billing"
FIRST_PORT = 20100
PORT_STEP = 100
"""Room for the replicas of a service between its port and the next one's."""


class Unlisted(ValueError):
    """A file of the repository does not list services the way it is known to."""


def next_port(mesh: str) -> int:
    """A port with room for replicas after all that the mesh.yaml in `mesh` gives out."""
    services = yaml.safe_load(mesh)["services"].values()
    return max((service["port"] for service in services), default=FIRST_PORT - PORT_STEP) + PORT_STEP


def in_mesh(mesh: str, words: Words, port: int) -> str:
    """mesh.yaml with the service in it, and in every environment that says something of the last one there."""
    root, lines = yaml.compose(mesh), mesh.splitlines()
    environments = [_value(environment, "services") for _, environment in _pairs(_value(root, "environments"))]
    _, first, last = _last_entry(_value(root, "services"))
    made = {last: _listed(words, port, _indent(lines[first]))}
    for services in filter(None, environments):
        name, first, last = _last_entry(services)
        made[last] = [re.sub(rf"\b{name}\b", words.service, line) for line in lines[first : last + 1]]
    for line in sorted(made, reverse=True):
        lines[line + 1 : line + 1] = made[line]
    text = "\n".join(lines) + "\n"
    _check_only_added(yaml.safe_load(mesh), yaml.safe_load(text), words.service)
    return text


def in_workspace(pyproject: str, words: Words) -> str:
    """The root's pyproject.toml with the service wherever it lists services, in the order of the alphabet."""
    lines = pyproject.splitlines()
    references = [number for number, line in enumerate(lines) if _names(line, REFERENCE)]
    if not references:
        raise Unlisted(f"pyproject.toml lists no {REFERENCE}")
    for number in reversed(references):
        if " | " in lines[number]:
            lines[number] = re.sub(rf"\bgraphmesh_{REFERENCE}\b", rf"\g<0> | graphmesh_{words.service}", lines[number])
            continue
        made = _renamed(lines[number], words)
        place = number + 1
        while _same_kind(lines[place], made) and lines[place] < made:
            place += 1
        lines.insert(place, made)
    return "\n".join(lines) + "\n"


def in_lock(lock: str, words: Words) -> str:
    """uv.lock with the service in it. It needs what billing needs, so nothing has to be resolved."""
    head, *packages = lock.split("\n[[package]]\n")
    reference = f'name = "graphmesh-{REFERENCE}"\n'
    block = next((package for package in packages if package.startswith(reference)), None)
    if block is None:
        raise Unlisted(f"uv.lock has no graphmesh-{REFERENCE}")
    packages.append(_renamed(block, words))
    packages.sort(key=lambda package: package.partition("\n")[0])
    members = re.search(r"(?<=members = \[\n).*?(?=\])", head, re.DOTALL)
    if members is None:
        raise Unlisted("uv.lock lists no members")
    listed = sorted([*members[0].splitlines(), f'    "{words.distribution}",'])
    head = head.replace(members[0], "\n".join(listed) + "\n")
    return "\n[[package]]\n".join([head, *(package.rstrip("\n") + "\n" for package in packages)])


def _names(line: str, service: str) -> bool:
    return re.search(rf"(graphmesh[-_]|services/){service}\b", line) is not None


def _same_kind(line: str, other: str) -> bool:
    """Whether both are entries of one list: the same but for the names."""
    return re.sub(r"[\w/-]+", "", line) == re.sub(r"[\w/-]+", "", other)


def _renamed(text: str, words: Words) -> str:
    text = text.replace(f"graphmesh-{REFERENCE}", words.distribution)
    text = text.replace(f"graphmesh_{REFERENCE}", f"graphmesh_{words.service}")
    return text.replace(f"services/{REFERENCE}", f"services/{words.service}")


def _listed(words: Words, port: int, indent: str) -> list[str]:
    return [
        f"{indent}{words.service}:",
        f"{indent}  service: graphmesh.{words.service}.v1.{words.substitutions['Service']}Service",
        f"{indent}  module: graphmesh_{words.service}",
        f"{indent}  port: {port}",
    ]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _value(node: Any, key: str) -> Any:
    return next((value for name, value in _pairs(node) if name.value == key), None)


def _last_entry(services: Any) -> tuple[str, int, int]:
    """The name of the last service in a mapping, and the first and the last line of its entry."""
    if not _pairs(services):
        raise Unlisted("mesh.yaml has an empty list of services")
    name, value = services.value[-1]
    return name.value, name.start_mark.line, _last_line(value)


def _last_line(node: Any) -> int:
    """The line that a node ends in. A block's own mark is after the blank lines and comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[-1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line)


def _check_only_added(before: Any, after: Any, service: str) -> None:
    """Raises Unlisted where the new mesh.yaml says anything else than the old one and the service."""
    for document in (after, *(after.get("environments") or {}).values()):
        (document.get("services") or {}).pop(service, None)
    if before != after:
        raise Unlisted("mesh.yaml is laid out in a way that the entry of a service cannot be added to")
