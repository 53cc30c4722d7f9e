"""Reads the imports of a module."""

import ast


def imported_modules(source: str) -> set[str]:
    """The full names of the modules that a module imports; `.` for a relative import."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." if node.level else node.module or "")
    return names


def imported_packages(source: str) -> set[str]:
    """The top-level names that a module imports; `.` for a relative import."""
    return {name if name == "." else name.split(".")[0] for name in imported_modules(source)}
