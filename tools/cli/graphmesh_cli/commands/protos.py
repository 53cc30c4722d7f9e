"""`graphmesh protos`: Python packages and checks of the contracts of any repository."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from graphmesh_protos import ProtoError, checks, compile_image, descriptor_set, replace

from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.failures import Failure

Protos = Annotated[Path, typer.Option(help="The folder of the protos: acme/orders/v1/orders.proto is below it.")]
Config = Annotated[Path | None, typer.Option(help="Rules of buf; by default ./buf.yaml, else STANDARD and COMMENTS.")]
PROTOS = Path("protos")
BUF_YAML = Path("buf.yaml")

commands = typer.Typer(add_completion=False)


@commands.callback()
def protos_group() -> None:
    """Generate Python packages from protos, and check them.

    The protos of graphmesh, of protovalidate and of google/api are found in the installed packages.
    """


@commands.command("generate")
def generate(
    protos: Protos = PROTOS,
    out: Annotated[Path, typer.Option(help="The folder to replace; it has generated files only.")] = Path("gen"),
    as_json: AsJson = False,
) -> None:
    """Generate messages, stubs and typed handles: one Python package for each package of the protos."""
    with _findings():
        packages = replace(protos, out)
    if as_json:
        return print_json_line({"folder": str(out), "packages": packages})
    return console().print(f"{out}: {', '.join(packages)}", soft_wrap=True)


@commands.command("lint")
def lint(protos: Protos = PROTOS, config: Config = None, as_json: AsJson = False) -> None:
    """Check the style, the bounds of the fields of requests, and the policies of services and methods."""
    with _findings():
        checks.lint(protos, _config(config))
    _show_success(protos, "no findings", as_json)


@commands.command("breaking")
def breaking(
    against: Annotated[str, typer.Option(help="A ref of git, such as origin/main, or a file of a descriptor set.")],
    protos: Protos = PROTOS,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check that no change breaks clients or stored messages."""
    with _findings():
        before = descriptor_set(Path(against)) if Path(against).is_file() else checks.image_at(protos, against)
        if before is not None:
            checks.breaking(protos, before, _config(config))
    result = f"nothing breaks since {against}" if before is not None else f"{against} has no protos to compare with"
    _show_success(protos, result, as_json)


@commands.command("descriptors")
def descriptors(
    file: Annotated[Path, typer.Argument(help="The file to write: a serialized FileDescriptorSet.")],
    protos: Protos = PROTOS,
    as_json: AsJson = False,
) -> None:
    """Write the descriptor set, with imports and comments, by which a mesh knows a service."""
    with _findings():
        image = compile_image(protos)
    file.write_bytes(image.SerializeToString())
    _show_success(file, f"{len(image.file)} files", as_json)


def _config(given: Path | None) -> Path | None:
    return given or (BUF_YAML if BUF_YAML.is_file() else None)


def _show_success(subject: Path, result: str, as_json: bool) -> None:
    if as_json:
        return print_json_line({"path": str(subject), "result": result})
    return console().print(f"{subject}: {result}", soft_wrap=True)


@contextmanager
def _findings() -> Iterator[None]:
    """Show findings as the failure of the command."""
    try:
        yield
    except ProtoError as error:
        raise Failure(str(error)) from None
