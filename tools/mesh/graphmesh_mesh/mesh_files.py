"""mesh.yaml and the files that it includes, read as one mapping."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml import MarkedYAMLError

from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.tls import FILES

INCLUDE, SERVICES, ENVIRONMENTS = "include", "services", "environments"
INCLUDED_KEYS = (INCLUDE, SERVICES, ENVIRONMENTS)
"""The keys of an included file: it lists services, and nothing of the mesh itself."""
DESCRIPTOR_SET = "descriptor_set"
MESH, TLS = "mesh", "tls"
IDENTITY, ISSUERS, JWKS_FILE, REVOKED = "identity", "issuers", "jwks_file", "revoked"
ROLES = "roles"
PATHS = (DESCRIPTOR_SET, "python", "folder")
"""The fields of a service that are paths, relative to the file that they are in."""
SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 1024 * 1024
MAX_NODES = 100_000
"""The most mappings, lists and values in a file, its aliases expanded."""


@dataclass
class MeshFiles:
    """The merged content of a mesh.yaml and of the files that it includes."""

    content: dict[str, Any] = field(default_factory=dict)
    """The keys of mesh.yaml, with the services of all files."""
    environments: dict[str, Any] = field(default_factory=dict)
    """The overrides of each environment: those of mesh.yaml over those of included files."""
    origins: dict[str, Path] = field(default_factory=dict)
    """The included file of each service that is not in mesh.yaml itself."""
    paths: list[Path] = field(default_factory=list)
    """All files and folders that were read or named, or were to be read when an error occurred."""
    _read: set[Path] = field(default_factory=set)
    """The files that were read, under their real paths."""

    def read(self, path: Path) -> None:
        """Read `path` and all that it includes.

        Raises:
            MeshError: a file is missing or broken, or a file, a service or a key in it is there twice.
        """
        raw = self._read_one(path, ())
        self.content |= {key: value for key, value in raw.items() if key not in INCLUDED_KEYS}
        self.content |= self._resolved_callers(self.content, path.parent)
        self.environments = {
            name: {**overrides, **self._resolved_callers(overrides, path.parent)} if overrides else overrides
            for name, overrides in self.environments.items()
        }

    def _resolved_callers(self, content: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """Return the sections about callers with absolute paths."""
        identity, roles = self._resolved_identity(content, folder), self._resolved_roles(content, folder)
        return {**identity, **roles, **_resolved_certificates(content, folder)}

    def _resolved_roles(self, content: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        if content.get(ROLES) is None:
            return {}
        if not (found := _absolute(content, (ROLES,), folder)):
            raise MeshError(f"{ROLES}: is not the name of a file")
        self.paths += found.values()
        return found

    def _resolved_identity(self, content: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """Return the section of identity with absolute paths."""
        identity = content.get(IDENTITY)
        if not isinstance(identity, Mapping):
            return {}
        issuers = identity.get(ISSUERS)
        if not isinstance(issuers, Sequence) or not all(isinstance(one, Mapping) for one in issuers):
            return {}
        paths = [_absolute(one, (JWKS_FILE, "ca"), folder) for one in issuers]
        self.paths += [path for found in paths for path in found.values()]
        resolved = [{**one, **found} for one, found in zip(issuers, paths, strict=True)]
        revoked = _absolute(identity, (REVOKED,), folder)
        if identity.get(REVOKED) is not None and not revoked:
            raise MeshError(f"{IDENTITY}.{REVOKED}: is not the name of a file")
        self.paths += revoked.values()
        return {IDENTITY: {**identity, ISSUERS: resolved, **revoked}}

    def _read_one(self, path: Path, parents: tuple[Path, ...]) -> Mapping[str, Any]:
        real = path.resolve()
        if real in parents:
            chain = " includes ".join(str(one) for one in (*parents[parents.index(real) :], real))
            raise MeshError(f"{INCLUDE}: {chain}")
        if real in self._read:
            raise MeshError(f"{INCLUDE}: {path} is included twice")
        self._read.add(real)
        self.paths.append(path)
        try:
            raw = read_yaml(path)
            if parents and (unknown := sorted(set(map(str, raw)) - set(INCLUDED_KEYS))):
                raise MeshError(f"{unknown[0]}: an included file has only {', '.join(INCLUDED_KEYS)}")
            services, environments = _mapping(raw, SERVICES), _mapping(raw, ENVIRONMENTS)
            included = list(self._included(raw.get(INCLUDE), path.parent))
        except MeshError as error:
            raise MeshError(f"{path}: {error}" if parents else str(error)) from error
        for other in included:
            self._read_one(other, (*parents, real))
        self._add(path, services, environments, is_included=bool(parents))
        return raw

    def _included(self, names: Any, folder: Path) -> Iterator[Path]:
        """Yield the files that `include` names; the YAML files of a folder in the order of their names."""
        if names is None:
            return
        if not (isinstance(names, list) and all(isinstance(name, str) and name for name in names)):
            raise MeshError(f"{INCLUDE}: is not a list of files and folders")
        for name in names:
            path = folder / name
            if path.is_dir():
                self.paths.append(path)
                yield from sorted(one for one in path.iterdir() if one.suffix in SUFFIXES)
            elif path.is_file():
                yield path
            else:
                self.paths.append(path)
                raise MeshError(f"{INCLUDE}: {name} does not exist")

    def _add(
        self, path: Path, services: Mapping[str, Any], environments: Mapping[str, Any], *, is_included: bool
    ) -> None:
        """Add the services of a file, and its overrides: an included file overrides its own services only."""
        known = self.content.setdefault(SERVICES, {})
        for name, service in services.items():
            if name in known:
                raise MeshError(f"{path}: {SERVICES}.{name}: is in {self.origins.get(name, 'mesh.yaml')} too")
            known[name] = self._resolved(service, path.parent)
            if is_included:
                self.origins[name] = path
        for environment in environments:
            overrides = _mapping(environments, environment)
            if is_included:
                self._check_overrides(path, environment, overrides)
            before = self.environments.get(environment) or {}
            self.environments[environment] = merged(before, self._resolved_services(overrides, path.parent))

    def _check_overrides(self, path: Path, environment: str, overrides: Mapping[str, Any]) -> None:
        key = f"{path}: {ENVIRONMENTS}.{environment}"
        if unknown := [str(name) for name in overrides if name != SERVICES]:
            raise MeshError(f"{key}.{unknown[0]}: an included file has only {SERVICES}")
        for name in _mapping(overrides, SERVICES):
            if self.origins.get(name) != path:
                raise MeshError(f"{key}.{SERVICES}.{name}: is no service of this file")

    def _resolved_services(self, overrides: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        if not isinstance(overrides.get(SERVICES), Mapping):
            return overrides
        services = {name: self._resolved(service, folder) for name, service in overrides[SERVICES].items()}
        return {**overrides, SERVICES: services}

    def _resolved(self, service: Any, folder: Path) -> Any:
        """Return a service with absolute paths, which are relative to `folder` in its file. Links are kept: the Python
        of an environment is one."""
        if not isinstance(service, Mapping):
            return service
        paths, tls = _absolute(service, PATHS, folder), service.get(TLS)
        if DESCRIPTOR_SET in paths:
            self.paths.append(paths[DESCRIPTOR_SET])
        if isinstance(tls, Mapping):
            files = _absolute(tls, FILES, folder)
            self.paths += files.values()
            return {**service, **paths, TLS: {**tls, **files}}
        return {**service, **paths}


def _resolved_certificates(content: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Return the section of the mesh listener with the absolute path of the folder of certificates."""
    listener = content.get(MESH)
    tls = listener.get(TLS) if isinstance(listener, Mapping) else None
    if not isinstance(listener, Mapping) or not isinstance(tls, Mapping):
        return {}
    return {MESH: {**listener, TLS: {**tls, **_absolute(tls, ("certificates",), folder)}}}


def _absolute(raw: Mapping[str, Any], keys: Sequence[str], folder: Path) -> dict[str, Path]:
    return {key: (folder / raw[key]).absolute() for key in keys if isinstance(raw.get(key), str) and raw[key]}


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read one file. Raises MeshError, which does not name it."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise MeshError(f"has {size:,} bytes, and may have {MAX_BYTES:,}")
        raw = yaml.load(path.read_text(), _Loader)  # it is a SafeLoader
    except OSError as error:
        raise MeshError(error.strerror or str(error)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise MeshError(_yaml_problem(error)) from error
    if not isinstance(raw, Mapping):
        raise MeshError("is not a mapping")
    _check_nodes(raw)
    return raw


def _yaml_problem(error: Exception) -> str:
    """Return one line, with the place where the error has one."""
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = error.problem if isinstance(error, MarkedYAMLError) and error.problem else str(error)
    return f"{place}is no YAML: {' '.join(problem.split())}"


def line_of(path: Path, location: Sequence[int | str]) -> int:
    """Return the line of the innermost key or element of a location that a file has; 0 where it has none of them."""
    node, line = yaml.compose(path.read_text(), yaml.SafeLoader), 0
    for key in location:
        children: dict[Any, tuple[Any, Any]] = (
            {name.value: (name, value) for name, value in node.value}
            if isinstance(node, yaml.MappingNode)
            else {at: (value, value) for at, value in enumerate(getattr(node, "value", ()))}
        )
        if key not in children:
            break
        marked, node = children[key]
        line = marked.start_mark.line + 1
    return line


def problem_at(path: Path | None, location: tuple[int | str, ...], rule: str) -> str:
    """Return one line about a rule that a file breaks, with its path and line where there is a file."""
    line = line_of(path, location) if path else 0
    place = f"{f'{path}: ' if path else ''}{f'line {line}: ' if line else ''}"
    return f"{place}{'.'.join(map(str, location))}: {rule}" if location else f"{place}{rule}"


def has_key(path: Path, location: Sequence[int | str]) -> bool:
    """Report whether a file has the key or the element at a location."""
    found: Any = read_yaml(path)
    for key in location:
        if not (isinstance(found, Mapping) and key in found):
            return False
        found = found[key]
    return True


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which PyYAML keeps the last, and merge keys, which multiply. A value
    that is no date or number of its form has a place as other errors have."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, OverflowError):
            problem = f"the value {str(node.value)[:50]} is not valid"
            raise MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key in (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key == "<<":
                raise MarkedYAMLError(problem="merge keys are not supported", problem_mark=node.start_mark)
            if key in seen:
                raise MarkedYAMLError(problem=f"the key {key} is there twice", problem_mark=node.start_mark)
            seen.add(key)
        return dict(super().construct_mapping(node, deep))


def _check_nodes(raw: Any) -> None:
    """Raises MeshError where aliases make a small file large, or refer to themselves."""
    pending, nodes = [raw], 0
    while pending:
        if (nodes := nodes + 1) > MAX_NODES:
            raise MeshError(f"has more than {MAX_NODES:,} values, its aliases expanded")
        one = pending.pop()
        pending += one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ()


def _mapping(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if (value := raw.get(key)) is None:
        return {}
    if not isinstance(value, Mapping):
        raise MeshError(f"{key}: is not a mapping")
    return value


def merged(base: Any, overrides: Any) -> Any:
    """Return `base` with `overrides`, mapping by mapping; any other value is replaced."""
    if not (isinstance(base, Mapping) and isinstance(overrides, Mapping)):
        return overrides
    return {**base, **{key: merged(base.get(key), value) for key, value in overrides.items()}}
