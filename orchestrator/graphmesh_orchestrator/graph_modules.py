"""Imports the modules of a project's graphs."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from graphmesh_orchestrator.import_errors import describe
from graphmesh_orchestrator.project import GraphEntry, Project, ProjectError


class GraphModules:
    """The modules of one load of a project. A file is executed once in it, also where another module has imported it.

    A file has the name by which its siblings import it, so that stored objects of its classes are read under the same
    name, here and in a program of its own.
    """

    def __init__(self, project: Project) -> None:
        """The process has entered the project."""
        self._folder, self._roots = project.file.parent, project.roots
        self._before = frozenset(sys.modules)
        self._modules: dict[str, ModuleType] = {}

    def get(self, entry: GraphEntry) -> ModuleType:
        """Import the module of an entry. Raises ProjectError."""
        if entry.source not in self._modules:
            try:
                self._modules[entry.source] = self._imported(entry)
            except (Exception, SystemExit) as error:
                raise ProjectError(f"{entry.source} cannot be imported: {describe(error)}") from error
        return self._modules[entry.source]

    def _imported(self, entry: GraphEntry) -> ModuleType:
        if not entry.is_file:
            return importlib.import_module(entry.source)
        file = (self._folder / entry.source).resolve()
        if not file.is_file():
            raise ImportError(f"there is no file {file}")
        return _of_package(file) or self._executed(_import_name(file, self._roots) or self._own_name(file), file)

    def _executed(self, name: str, file: Path) -> ModuleType:
        if name in sys.modules.keys() - self._before:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is not a Python module")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    def _own_name(self, file: Path) -> str:
        """Return a name for a file that cannot be imported by one, as where another module has it."""
        relative = file.relative_to(self._folder) if file.is_relative_to(self._folder) else Path(file.name)
        return f"graphmesh_graph_{re.sub(r'[^0-9A-Za-z]', '_', str(relative.with_suffix('')))}"


def _of_package(file: Path) -> ModuleType | None:
    """Import a file as a member of its package; None where its folder is none."""
    package, top = "", file.parent
    while (top / "__init__.py").exists():
        package, top = f"{top.name}.{package}", top.parent
    if not package:
        return None
    if str(top) not in sys.path:
        sys.path.insert(0, str(top))
    module = importlib.import_module(package + file.stem)
    if Path(module.__file__ or "").resolve() != file:
        raise ImportError(f"{package + file.stem} is already imported from {module.__file__}: rename the package")
    return module


def _import_name(file: Path, roots: Iterable[Path]) -> str:
    """Return the name by which an import statement finds a file in folders of `sys.path`; empty where none does."""
    return next((name for name in _possible_names(file, roots) if _finds(name, file)), "")


def _possible_names(file: Path, roots: Iterable[Path]) -> Iterator[str]:
    for root in sorted(roots, key=lambda root: len(root.parts), reverse=True):
        parts = file.relative_to(root).with_suffix("").parts if file.is_relative_to(root) else ()
        if parts and all(part.isidentifier() for part in parts):
            yield ".".join(parts)


def _finds(name: str, file: Path) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file
