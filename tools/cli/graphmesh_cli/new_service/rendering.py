"""Renders the files of a new service from the templates beside this module."""

import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from string import Template

from graphmesh_cli.new_service.names import Names

SERVER = {
    "__init__.py": "$module/__init__.py",
    "__main__.py": "$module/__main__.py",
    "convert.py": "$module/convert.py",
    "domain.py": "$module/domain.py",
    "lifecycle.py": "$module/lifecycle.py",
    "migration.py": "$module/migrations/${service}_0001_initial.py",
    "port.py": "$module/$resources.py",
    "port_sql.py": "$module/${resources}_sql.py",
    "py.typed": "$module/py.typed",
    "servicer.py": "$module/servicer.py",
    "settings.py": "$module/settings.py",
}
MEMBER = {
    "contract.proto": "protos/$folder/v1/$service.proto",
    "pyproject.toml": "services/$service/pyproject.toml",
    "README.md": "services/$service/README.md",
    **{name: f"services/$service/{path}" for name, path in SERVER.items()},
    "test_unit.py": "tests/unit/$service/test_${resource}_rules.py",
    "test_contract.py": "tests/contract/$service/test_$resources.py",
    "test_integration.py": "tests/integration/$service/test_${service}_server.py",
    "test_grpc.py": "tests/integration/$service/test_${service}_grpc.py",
}
"""The templates of a member of this repository, with the paths that their files get."""
REPOSITORY = {
    "contract.proto": "contracts/protos/$folder/v1/$service.proto",
    "repository/contracts.pyproject.toml": "contracts/pyproject.toml",
    "repository/contracts.README.md": "contracts/README.md",
    "repository/pyproject.toml": "pyproject.toml",
    "repository/README.md": "README.md",
    "repository/Makefile": "Makefile",
    "repository/Dockerfile": "Dockerfile",
    "repository/dockerignore": ".dockerignore",
    "repository/gitignore": ".gitignore",
    "repository/ci.yml": ".github/workflows/ci.yml",
    **SERVER,
    "test_unit.py": "tests/test_${resource}_rules.py",
    "test_grpc.py": "tests/test_${service}_grpc.py",
    "repository/test_bad_fields.py": "tests/test_bad_fields.py",
}
"""The templates of a repository of its own."""
PLACEHOLDER = Names("zz_service", "zz_resource")
"""Names that occur in no template, to find the identifiers that the templates use themselves."""


def render(names: Names) -> dict[Path, str]:
    """Render every file of the service, keyed by its path in the repository: this one, or one of a team's own.

    Raises:
        InvalidName: the code of the service has an identifier that is spelled like the resource.
    """
    names.check_unused(
        text for path, text in _render(replace(PLACEHOLDER, team=names.team)).items() if path.suffix == ".py"
    )
    return _render(names)


def _render(names: Names) -> dict[Path, str]:
    values = names.substitutions
    return {
        Path(Template(path).substitute(values)): Template(_template(name)).substitute(values)
        for name, path in (MEMBER if names.team is None else REPOSITORY).items()
    }


def _template(name: str) -> str:
    return files(__package__).joinpath("templates", f"{name}.tmpl").read_text()


def format_python(folder: Path, config: Path) -> None:
    """Sort imports and wrap lines, which depend on the lengths of the names.

    Raises:
        subprocess.CalledProcessError: ruff is not installed, or failed.
    """
    ruff = (sys.executable, "-m", "ruff")
    for command in (("check", "--fix-only", "--select=I"), ("format",)):
        subprocess.run([*ruff, *command, "--quiet", f"--config={config}", str(folder)], check=True)
