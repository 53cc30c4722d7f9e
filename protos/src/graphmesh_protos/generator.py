"""Generates the Python packages of the protos of a folder: messages, stubs, RPC handles and comments."""

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from graphmesh_protos.compiler import ProtoError, compile_image, proto_files, protoc
from graphmesh_protos.problems import problems
from graphmesh_protos.python_package import comments, package_module, type_names

GENERATED_NAMES = re.compile(r".*_pb2(_grpc)?\.pyi?|comments\.json|py\.typed|.*\.pyc")


def replace(protos: Path, out: Path, beside: Sequence[str] = ()) -> list[str]:
    """Generate into `out`, replace its contents, and return the packages. On an error they remain.

    Raises:
        ProtoError: as `generate`; or `out` has files that were not generated.
    """
    if out.exists() and not out.is_dir():
        raise ProtoError(f"{out} is a file, and not a folder to replace")
    if foreign := next(filter(_is_foreign, sorted(out.rglob("*"))), None):
        raise ProtoError(f"{foreign} was not generated: {out} would be replaced, so it must have generated files only")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".gen-") as work:
        made, before = Path(work, "made"), Path(work, "before")
        made.mkdir()
        packages = generate(protos, made, beside)
        if out.exists():
            out.rename(before)
        made.rename(out)
    return packages


def _is_foreign(path: Path) -> bool:
    if path.name == "__init__.py":
        return path.stat().st_size > 0 and "Generated " not in path.read_text()[:300]
    return path.is_file() and not GENERATED_NAMES.fullmatch(path.name)


def generate(protos: Path, out: Path, beside: Sequence[str] = ()) -> list[str]:
    """Generate everything into an empty folder, and return the packages.

    Args:
        beside: installed protos for which messages are generated as well.

    Raises:
        ProtoError: the protos do not compile, or have `problems`.
    """
    files, names = compile_image(protos).file, proto_files(protos)
    own = [file for file in files if file.name in names]
    if found := [f"{protos / file.name}:{problem}" for file in own for problem in problems(file)]:
        raise ProtoError("\n".join(found))
    protoc(protos, [*names, *beside], f"--python_out={out}", f"--mypy_out=quiet:{out}")
    if with_services := [file.name for file in own if file.service]:
        protoc(protos, with_services, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}")
    packages: dict[str, list[FileDescriptorProto]] = {}
    for file in own:
        packages.setdefault(file.package, []).append(file)
    types = type_names(files)
    for package, members in packages.items():
        folder = out / package.replace(".", "/")
        (folder / "__init__.py").write_text(package_module(package, members, types))
        (folder / "comments.json").write_text(json.dumps(comments(members), indent=1) + "\n")
        (folder / "py.typed").touch()
    return sorted(packages)
