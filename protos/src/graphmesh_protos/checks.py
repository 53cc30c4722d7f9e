"""Checks of contracts: style by buf, bounds of requests, policies, and changes that break clients."""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from graphmesh.policy.v1 import policy_pb2
from graphmesh_contracts import PolicyError, method_policy, service_policies
from graphmesh_contracts.narrowed_rules import narrowed_requests

from graphmesh_protos.bounds import unbounded_fields
from graphmesh_protos.compiler import ProtoError, compile_image, proto_files, with_folder
from graphmesh_protos.problems import problems
from graphmesh_protos.python_package import line_numbers

INSTALLED = ["buf", "google", "graphmesh"]
CONFIG: Mapping[str, Any] = {
    "version": "v2",
    "lint": {"use": ["STANDARD", "COMMENTS"], "disallow_comment_ignores": True, "ignore": INSTALLED},
    "breaking": {"use": ["FILE"], "ignore": INSTALLED},
}
"""The rules of buf for a repository that has no buf.yaml."""


def lint(protos: Path, config: Path | None = None) -> None:
    """Check the style, the bounds of requests and the policies.

    Args:
        config: the file buf.yaml, instead of CONFIG.

    Raises:
        ProtoError: with a line for each finding: file, line, and what it lacks.
    """
    image, names = compile_image(protos), proto_files(protos)
    own = [file for file in image.file if file.name in names]
    if found := [f"{protos / file.name}:{problem}" for file in own for problem in problems(file)]:
        raise ProtoError("\n".join(found))
    findings = [*_buf(protos, "lint", image, config), *_bounds(protos, image, names), *_policies(protos, image, names)]
    if findings:
        raise ProtoError("\n".join(findings))


def breaking(protos: Path, against: FileDescriptorSet, config: Path | None = None) -> None:
    """Check that no change since `against` breaks clients or stored messages. Raises ProtoError with each change."""
    image = compile_image(protos)
    with tempfile.NamedTemporaryFile(suffix=".binpb") as before:
        before.write(against.SerializeToString())
        before.flush()
        findings = _buf(protos, "breaking", image, config, "--against", before.name)
    if findings := [*findings, *_narrowed(protos, against, image)]:
        raise ProtoError("\n".join(findings))


def image_at(protos: Path, ref: str) -> FileDescriptorSet | None:
    """Compile the protos as they are at a ref of git; None where it has none of them.

    Raises:
        ProtoError: there is no such ref, or the folder is in no repository.
    """
    git = ("git", "-C", str(protos))
    known = subprocess.run([*git, "rev-parse", "-q", "--verify", f"{ref}^{{commit}}"], capture_output=True, check=False)
    if known.returncode:
        raise ProtoError(f"{ref} is neither a file nor a ref of git in {protos}")
    archive = subprocess.run([*git, "archive", ref, "."], capture_output=True, check=False)
    if archive.returncode:  # the folder is newer than the ref
        return None
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        return compile_image(Path(folder)) if any(Path(folder).rglob("*.proto")) else None


def _buf(protos: Path, command: str, image: FileDescriptorSet, config: Path | None, *options: str) -> list[str]:
    beside = Path(sys.executable).with_name("buf")
    program = str(beside) if beside.exists() else shutil.which("buf")
    if program is None:
        raise ProtoError("buf is not installed: install graphmesh-protos[generate]")
    with tempfile.NamedTemporaryFile(suffix=".binpb") as target:
        target.write(image.SerializeToString())
        target.flush()
        rules = str(config) if config else json.dumps(CONFIG)
        arguments = [program, command, target.name, "--config", rules, *options]
        ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if not ended.returncode:
        return []
    return with_folder(protos, ended.stdout + ended.stderr, proto_files(protos)).splitlines()


def _bounds(protos: Path, image: FileDescriptorSet, names: list[str]) -> Iterator[str]:
    places = _places(protos, image, names)
    for unbounded in unbounded_fields(image.file, names):
        field = unbounded.field
        yield f"{places.get(field, field)}: {field} has no bound in a request: it needs {unbounded.needed}"


def _places(protos: Path, image: FileDescriptorSet, names: list[str]) -> Mapping[str, str]:
    """Return `file:line` of each named element; the files of the repository are below their folder."""
    files = {file.name: f"{protos / file.name}" if file.name in names else file.name for file in image.file}
    return {name: f"{files[file.name]}:{line}" for file in image.file for name, line in line_numbers(file).items()}


def _narrowed(protos: Path, before: FileDescriptorSet, image: FileDescriptorSet) -> Iterator[str]:
    """Yield the rules by which requests that were valid are not any more."""
    names = proto_files(protos)
    old, new, places = _pool(before), _pool(image), _places(protos, image, names)
    for file in image.file:
        for service in file.service if file.name in names else ():
            full_name = f"{file.package}.{service.name}"
            with suppress(KeyError):  # the service is new
                for one in narrowed_requests(old.FindServiceByName(full_name), new.FindServiceByName(full_name)):
                    yield f"{places.get(one.element, one.element)}: {one}"


def _policies(protos: Path, image: FileDescriptorSet, names: list[str]) -> Iterator[str]:
    pool = _pool(image)
    for file in image.file:
        if file.name in names:
            yield from _policies_of(protos, file, pool)


def _pool(image: FileDescriptorSet) -> DescriptorPool:
    pool = DescriptorPool()
    for file in image.file:
        pool.Add(file)
    return pool


def _policies_of(protos: Path, file: FileDescriptorProto, pool: DescriptorPool) -> Iterator[str]:
    lines = line_numbers(file)
    for service in file.service:
        found = pool.FindServiceByName(f"{file.package}.{service.name}")
        checks: dict[str, Callable[[], object]] = {found.full_name: partial(service_policies, [found])}
        checks |= {method.full_name: partial(method_policy, method) for method in found.methods}
        for name, check in checks.items():
            try:
                check()
            except PolicyError as error:
                yield f"{protos / file.name}:{lines[name]}: {error}"
        for method in found.methods:
            yield from (f"{protos / file.name}:{lines[method.full_name]}: {lack}" for lack in _undeclared(method))


def _undeclared(method: MethodDescriptor) -> Iterator[str]:
    """Yield what a method has to state and does not: a default would be a guess about its effect, and who may call."""
    options = method.GetOptions()
    if not options.HasField("idempotency_level"):
        levels = "NO_SIDE_EFFECTS of a read, IDEMPOTENT of an effect, IDEMPOTENCY_UNKNOWN of what no graph calls"
        yield f"{method.full_name} has no idempotency_level: {levels}"
    if not options.Extensions[policy_pb2.method].scopes:
        yield f'{method.full_name} has no scopes: its policy names what a caller needs, such as scopes: ["orders.read"]'
