"""The modules, classes and syntax trees of this repository."""

import ast
import functools
import importlib
import pkgutil
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.contract.contracts.error_analysis.values import ROOTS


def import_all(package: str) -> None:
    """Import the modules of a package, but for its migrations."""
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, f"{package}."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)


def classes_of(packages: Collection[str]) -> Iterator[type]:
    """The classes of the imported modules of some packages; protocols are left out."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            for value in vars(module).values():
                if isinstance(value, type) and value.__module__ == name and not getattr(value, "_is_protocol", False):
                    yield value


@functools.cache
def node_of(function: Any) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The syntax tree of a function of this repository."""
    return _functions(function.__module__).get(function.__qualname__)


@functools.cache
def _functions(module: str) -> Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a module by their qualified names."""
    if not module.startswith(ROOTS) or not (file := getattr(sys.modules[module], "__file__", None)):
        return {}
    return dict(_qualified(ast.parse(Path(file).read_text()), ""))


def _qualified(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{child.name}", child
            yield from _qualified(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, ast.ClassDef):
            yield from _qualified(child, f"{prefix}{child.name}.")
        elif not isinstance(child, ast.expr):
            yield from _qualified(child, prefix)
