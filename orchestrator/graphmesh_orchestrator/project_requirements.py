"""The packages that a project requires: those of `dependencies`, and those that its folders state."""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

BUILDS = ("setup.py", "setup.cfg")
INPUTS = ("pyproject.toml", "requirements.txt", *BUILDS)
"""The files of a folder that state its requirements."""


class UnreadableRequirements(Exception):
    """A file of requirements cannot be read, or a requirement in it. The message names both."""


@dataclass
class Requirements:
    """What a project requires."""

    packages: list[str] = field(default_factory=list)
    """Requirements as pip takes them."""
    files: list[Path] = field(default_factory=list)
    """Files of requirements with more than packages, such as options and other files."""
    builds: list[str] = field(default_factory=list)
    """Folders, each with its extras, whose requirements only their build states."""

    @property
    def are_listed(self) -> bool:
        """Whether all requirements are known without an installer."""
        return not self.files and not self.builds

    def unmet(self) -> list[str]:
        """Return the packages that are not installed in this environment, with all that they require."""
        stated = (one for one in map(_parsed, self.packages) if _applies(one, [""]))
        return list(dict.fromkeys(_unmet(stated, set())))


def requirements_of(dependencies: Iterable[str], base: Path) -> Requirements:
    """Read the requirements of a project.

    Args:
        dependencies: those of its langgraph.json.
        base: the folder of that file.

    Raises:
        UnreadableRequirements: one cannot be read.
    """
    found = Requirements()
    for stated in dependencies:
        if stated.startswith("."):
            path, bracket, extras = stated.partition("[")
            _add_folder(found, (base / path).resolve(), extras.rstrip("]").split(",") if bracket else [])
        else:
            _parsed(stated)
            found.packages.append(stated)
    return found


def _add_folder(found: Requirements, folder: Path, extras: list[str]) -> None:
    project, lines = folder / "pyproject.toml", folder / "requirements.txt"
    stated = _toml(project) if project.is_file() else {}
    table = stated.get("project", {})
    if _needs_build(stated, folder):
        found.builds.append(f"{folder}[{','.join(extras)}]" if extras else str(folder))
    elif table:
        packages = [*table.get("dependencies", []), *_of_extras(table, extras, project)]
        found.packages += [_checked(one, project) for one in packages]
    elif lines.is_file():
        _add_file(found, lines)


def _needs_build(stated: dict[str, Any], folder: Path) -> bool:
    """Whether only a build of the folder states what it requires."""
    if table := stated.get("project"):
        own = {"dependencies", "optional-dependencies"} & {*table.get("dynamic", [])}
        return bool(own or stated.get("tool", {}).get("uv", {}).get("sources"))
    return "poetry" in stated.get("tool", {}) or any((folder / name).is_file() for name in BUILDS)


def _of_extras(table: dict[str, Any], extras: Iterable[str], file: Path) -> Iterator[str]:
    """Yield the requirements of a project's extras, which may be made of others, as `agent[dev]` of `agent` is."""
    optional = {canonicalize_name(name): stated for name, stated in table.get("optional-dependencies", {}).items()}
    own, unread, seen = canonicalize_name(str(table.get("name", ""))), [*extras], set[str]()
    while unread:
        if (extra := canonicalize_name(unread.pop())) in seen:
            continue
        seen.add(extra)
        if extra not in optional:
            raise UnreadableRequirements(f"{file}: there is no extra {extra}")
        for stated in optional[extra]:
            requirement = _parsed(_checked(stated, file))
            if canonicalize_name(requirement.name) == own:
                unread += requirement.extras
            else:
                yield stated


def _add_file(found: Requirements, file: Path) -> None:
    """Add the lines of a file where all of them are packages, else the file."""
    try:
        stripped = [line.partition(" #")[0].strip() for line in file.read_text().splitlines()]
        packages = [line for line in stripped if line and not line.startswith("#")]
        if any(line.startswith(("-", ".", "/")) or "://" in line.partition("@")[0] for line in packages):
            found.files.append(file)
        else:
            found.packages += [_checked(line, file) for line in packages]
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableRequirements(f"{file}: cannot be read: {error}") from error


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UnreadableRequirements(f"{file}: cannot be read: {error}") from error


def _checked(stated: Any, file: Path) -> str:
    try:
        _parsed(stated)
    except UnreadableRequirements as error:
        raise UnreadableRequirements(f"{file}: {error}") from error
    return str(stated)


def _parsed(stated: Any) -> Requirement:
    try:
        return Requirement(str(stated))
    except InvalidRequirement as error:
        raise UnreadableRequirements(f"{stated!r} is not a requirement: {error}") from error


def _unmet(requirements: Iterable[Requirement], seen: set[str]) -> Iterator[str]:
    """Yield the requirements that no installed distribution meets, and those of the distributions that meet others."""
    for requirement in requirements:
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        try:
            installed = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            yield str(requirement)
            continue
        if not requirement.specifier.contains(installed.version, prereleases=True):
            yield str(requirement)
            continue
        yield from _unmet(map(_without_sibling_pin, required_by(installed, requirement.extras)), seen)


def _without_sibling_pin(required: Requirement) -> Requirement:
    """Accept any version of our packages that another package requires.

    They are pinned to each other, and a working copy has the versions of the commits at which each was installed.
    """
    if canonicalize_name(required.name).startswith("graphmesh-"):
        required.specifier = SpecifierSet()
    return required


def required_by(distribution: metadata.Distribution, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """Yield what an installed distribution requires in this environment, with some of its extras."""
    for stated in distribution.requires or ():
        requirement = Requirement(stated)
        if _applies(requirement, ["", *extras]):
            yield requirement


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)
