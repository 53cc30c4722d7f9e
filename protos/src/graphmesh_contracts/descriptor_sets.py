"""Descriptor sets: the contracts of services whose packages are not installed.

A set is the file that `protoc --descriptor_set_out --include_imports --include_source_info` or `buf build` writes. Each
is read into a pool of its own, so that the files and messages of two teams never meet, whatever their names.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet
from graphmesh.policy.v1 import policy_pb2

from graphmesh_contracts.policy import Idempotency, PolicyError, method_policy, service_policies

if TYPE_CHECKING:
    from protovalidate import Validator

SUFFIX = ".binpb"
MAX_BYTES = 16 * 1024 * 1024
"""The largest descriptor set."""
POLICY_OPTIONS: Mapping[str, Any] = {
    "google.protobuf.MethodOptions": policy_pb2.method,
    "google.protobuf.ServiceOptions": policy_pb2.service,
}
"""The extensions with policies, by the options that they extend."""


class ContractError(ValueError):
    """A descriptor set cannot be used; the message names the file and the rule."""


@dataclass(frozen=True)
class DescriptorSet:
    """The content of one file."""

    path: Path
    content: bytes
    pool: DescriptorPool
    files: FileDescriptorSet

    def service(self, name: str) -> ServiceDescriptor:
        """Return a service that a mesh can call.

        Raises:
            ContractError: the set has no such service, or the service breaks a rule of the mesh, or lacks policies. The
                message does not name the file.
        """
        from protovalidate import Validator  # which a client without policies does not have

        try:
            service = self.pool.FindServiceByName(name)
        except KeyError:
            raise ContractError(f"has no service {name}; it has {_listed(self.service_names())}") from None
        _check_option_numbers(self.pool)
        try:
            service_policies([service])
            for method in service.methods:
                method_policy(method)
        except PolicyError as error:
            raise ContractError(str(error)) from None
        _check_unknown_options(service.full_name, service.GetOptions(), policy_pb2.service)
        validator = Validator()
        for method in service.methods:
            _check_method(method, validator)
        return service

    def service_names(self) -> list[str]:
        """Return the full names of the services."""
        return [f"{file.package}.{service.name}" for file in self.files.file for service in file.service]


def read_descriptor_set(path: Path) -> DescriptorSet:
    """Read a descriptor set.

    Raises:
        ContractError: the file is missing, too large or broken, or lacks files that it imports.
    """
    content = _content(path)
    try:
        files = FileDescriptorSet.FromString(content)
    except DecodeError:
        raise ContractError(f"{path} is not a descriptor set") from None
    if not files.file:
        raise ContractError(f"{path} is a descriptor set without files")
    try:
        return DescriptorSet(path, content, _pool(files.file), files)
    except ContractError as error:
        raise ContractError(f"{path} {error}") from None


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ContractError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ContractError(f"{path} has {size:,} bytes; a descriptor set has at most {MAX_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise ContractError(f"{path} cannot be read: {error.strerror}") from error


def _pool(files: Iterable[FileDescriptorProto]) -> DescriptorPool:
    """Return a pool of files in any order. Raises ContractError."""
    by_name: dict[str, FileDescriptorProto] = {}
    for file in files:
        if by_name.setdefault(file.name, file) is not file:
            raise ContractError(f"has {file.name} twice")
    pool = DescriptorPool()
    try:
        for name in TopologicalSorter({file.name: file.dependency for file in by_name.values()}).static_order():
            if name not in by_name:
                importing = next(file.name for file in by_name.values() if name in file.dependency)
                raise ContractError(f"lacks {name}, which {importing} imports: build it with all imports")
            pool.Add(by_name[name])
    except CycleError as error:
        raise ContractError(f"has files that import each other: {' imports '.join(error.args[1])}") from None
    except TypeError as error:
        raise ContractError(f"is broken: {error}") from None
    return pool


def _check_method(method: MethodDescriptor, validator: "Validator") -> None:
    """Hold a method of another team to the rules that graphs rely on.

    Raises:
        ContractError: it is neither a read nor an effect with a key, it is an effect that streams, its policy has
            fields that this version does not know, or the rules of its messages do not compile.
    """
    idempotency = Idempotency(method.GetOptions().idempotency_level)
    if idempotency is Idempotency.UNKNOWN:
        raise ContractError(
            f"{method.full_name} declares no idempotency_level: a read is NO_SIDE_EFFECTS, and an effect, which takes "
            "a key, is IDEMPOTENT"
        )
    if idempotency is Idempotency.EFFECT and (method.client_streaming or method.server_streaming):
        raise ContractError(f"{method.full_name} is an effect and streams: it needs one request and one response")
    _check_unknown_options(method.full_name, method.GetOptions(), policy_pb2.method)
    from protovalidate import CompilationError

    for message in (method.input_type, method.output_type):
        try:
            validator.collect_violations(GetMessageClass(message)())
        except CompilationError as error:
            raise ContractError(f"the rules of {message.full_name} do not compile: {_first_line(error)}") from None


def _check_unknown_options(name: str, options: Message, policy: Any) -> None:
    if unknown := sorted(set(_unknown_fields(options.Extensions[policy]))):
        raise ContractError(f"the policy of {name} has fields that this version does not know: {_listed(unknown)}")


def _unknown_fields(message: Message) -> Iterator[str]:
    """Yield the numbers of unknown fields in a policy, as `field 9`."""
    yield from (f"field {field.field_number}" for field in UnknownFieldSet(message))  # type: ignore[attr-defined]
    for field, value in message.ListFields():
        if field.message_type is not None and not field.is_repeated:
            yield from _unknown_fields(value)


def _check_option_numbers(pool: DescriptorPool) -> None:
    """Raises ContractError where the set gives the number of a policy to an option of its own."""
    for options, policy in POLICY_OPTIONS.items():
        try:
            found = pool.FindExtensionByNumber(pool.FindMessageTypeByName(options), policy.number)
        except KeyError:
            continue
        if found.full_name != policy.full_name:
            raise ContractError(f"has the option {found.full_name} with the number of {policy.full_name}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
