"""Renders the files of a new service from the templates beside this module."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

from graphmesh_cli.new_service.names import Names

TEMPLATES = {
    "contract.proto": "protos/graphmesh/$service/v1/$service.proto",
    "pyproject.toml": "services/$service/pyproject.toml",
    "README.md": "services/$service/README.md",
    "__init__.py": "services/$service/graphmesh_$service/__init__.py",
    "__main__.py": "services/$service/graphmesh_$service/__main__.py",
    "convert.py": "services/$service/graphmesh_$service/convert.py",
    "domain.py": "services/$service/graphmesh_$service/domain.py",
    "lifecycle.py": "services/$service/graphmesh_$service/lifecycle.py",
    "migration.py": "services/$service/graphmesh_$service/migrations/${service}_0001_initial.py",
    "port.py": "services/$service/graphmesh_$service/$resources.py",
    "port_sql.py": "services/$service/graphmesh_$service/${resources}_sql.py",
    "py.typed": "services/$service/graphmesh_$service/py.typed",
    "servicer.py": "services/$service/graphmesh_$service/servicer.py",
    "settings.py": "services/$service/graphmesh_$service/settings.py",
    "test_unit.py": "tests/unit/$service/test_${resource}_rules.py",
    "test_contract.py": "tests/contract/$service/test_$resources.py",
    "test_integration.py": "tests/integration/$service/test_${service}_server.py",
    "test_grpc.py": "tests/integration/$service/test_${service}_grpc.py",
}
"""The templates, with the paths that their files get in the repository."""
PLACEHOLDER = Names("zz_service", "zz_resource")
"""Names that occur in no template, to find the identifiers that the templates use themselves."""


def render(names: Names) -> dict[Path, str]:
    """Render every file of the service, keyed by its path in the repository.

    Raises:
        InvalidName: the code of the service has an identifier that is spelled like the resource.
    """
    names.check_unused(text for path, text in _render(PLACEHOLDER).items() if path.suffix == ".py")
    return _render(names)


def _render(names: Names) -> dict[Path, str]:
    values = names.substitutions
    return {
        Path(Template(path).substitute(values)): Template(_template(name)).substitute(values)
        for name, path in TEMPLATES.items()
    }


def _template(name: str) -> str:
    return files(__package__).joinpath("templates", f"{name}.tmpl").read_text()


def format_python(folder: Path, config: Path) -> None:
    """Sort imports and wrap lines, which depend on the lengths of the names."""
    ruff = (sys.executable, "-m", "ruff")
    for command in (("check", "--fix-only", "--select=I"), ("format",)):
        subprocess.run([*ruff, *command, "--quiet", f"--config={config}", str(folder)], check=True)
