"""The files of a LangGraph project that its graphs are made of, and which of them have changed."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

SUFFIXES = (".py", ".md", ".txt", ".yaml", ".yml", ".toml", ".j2", ".jinja", ".jinja2")
"""Code and prompts. Other files may be data that the graphs write themselves."""
IGNORED = frozenset(("__pycache__", "build", "dist", "node_modules", "site-packages"))
"""Folders without sources of the project, beside hidden ones and virtual environments."""
ENVIRONMENT_MARK = "pyvenv.cfg"
MAX_FILES = 20_000

Stamps = Mapping[str, tuple[int, int]]
"""The time of the last change and the size, by path."""


def graph_names(project: Path | None) -> frozenset[str] | None:
    """Return the names of the graphs of a langgraph.json; None where it cannot be read, as its readers report."""
    try:
        graphs = json.loads(project.read_bytes())["graphs"] if project else None
        return frozenset(graphs) if isinstance(graphs, dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class ProjectFiles:
    """The files of the project of a langgraph.json: in its folder, and in the folders that it depends on.

    Args:
        state: the state folder of the mesh, whose files are not the project's, wherever it is.
    """

    def __init__(self, project: Path, state: Path) -> None:
        self._project, self._state = project.resolve(), str(state.resolve())

    def stamps(self) -> Stamps:
        """Return the present files. A file that vanishes meanwhile is left out."""
        stamps: dict[str, tuple[int, int]] = {}
        for path in self._paths():
            try:
                stat = Path(path).stat()
            except OSError:
                continue
            stamps[path] = (stat.st_mtime_ns, stat.st_size)
            if len(stamps) == MAX_FILES:
                break
        return stamps

    def changed(self, before: Stamps, after: Stamps) -> list[str]:
        """Return the paths of the files that differ, relative to the project."""
        paths = (path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        return sorted(os.path.relpath(path, self._project.parent) for path in paths)

    def _paths(self) -> Iterator[str]:
        yield str(self._project)
        settings = self._settings()
        if isinstance(env := settings.get("env"), str):
            yield str(self._project.parent / env)
        dependencies = settings.get("dependencies")
        names = [one for one in dependencies if isinstance(one, str)] if isinstance(dependencies, list) else []
        folders = {(self._project.parent / one).resolve() for one in (".", *names) if one.startswith(".")}
        for folder in sorted(folders):
            if not any(folder.is_relative_to(other) for other in folders - {folder}):
                yield from self._sources(str(folder))

    def _settings(self) -> Mapping[str, object]:
        """Return the content of langgraph.json; empty where it is broken: it is watched in any case."""
        try:
            settings = json.loads(self._project.read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        return settings if isinstance(settings, dict) else {}

    def _sources(self, folder: str) -> Iterator[str]:
        """Yield the sources below a folder, without entering ignored folders or links to folders."""
        try:
            with os.scandir(folder) as scanned:
                entries = list(scanned)
        except OSError:
            return
        if any(entry.name == ENVIRONMENT_MARK for entry in entries):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not (entry.name.startswith(".") or entry.name in IGNORED or entry.path == self._state):
                    yield from self._sources(entry.path)
            elif entry.name.endswith(SUFFIXES):
                yield entry.path
