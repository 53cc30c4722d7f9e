"""The probe: a service with one method of each arity, whose implementations are the test's."""

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message_factory import GetMessageClass
from graphmesh.policy.v1 import policy_pb2
from graphmesh_chassis.serve import Servable, Service
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.testing import Served, running
from graphmesh_contracts import Method, Rpc, StreamingRpc

NAME = "graphmesh.probe.v1.ProbeService"


def _with_imports(file: FileDescriptor) -> Iterable[FileDescriptor]:
    for imported in file.dependencies:
        yield from _with_imports(imported)
    yield file


def _loaded() -> FileDescriptor:
    known = {file.name: file for root in (policy_pb2, validate_pb2) for file in _with_imports(root.DESCRIPTOR)}
    imports = descriptor_pb2.FileDescriptorSet()
    for file in known.values():
        file.CopyToProto(imports.file.add())
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch, "given"), Path(scratch, "made")
        given.write_bytes(imports.SerializeToString())
        paths = [f"--descriptor_set_in={given}", f"-I{Path(__file__).parent}", f"--descriptor_set_out={made}"]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *paths, "probe.proto"], check=True)
        [compiled] = descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()).file
    descriptor_pool.Default().Add(compiled)
    return descriptor_pool.Default().FindFileByName("probe.proto")


FILE = _loaded()
Question: Any = GetMessageClass(FILE.message_types_by_name["Question"])
Answer: Any = GetMessageClass(FILE.message_types_by_name["Answer"])


class Probe:
    """The handles of the service's RPCs, as they are generated for other services."""

    NAME = NAME
    Ask: Rpc[Any, Any] = Rpc(f"/{NAME}/Ask", Question, Answer)
    Change: Rpc[Any, Any] = Rpc(f"/{NAME}/Change", Question, Answer)
    Count: StreamingRpc[Any, Any] = StreamingRpc(f"/{NAME}/Count", Question, Answer)
    Gather: StreamingRpc[Any, Any] = StreamingRpc(f"/{NAME}/Gather", Question, Answer)
    Talk: StreamingRpc[Any, Any] = StreamingRpc(f"/{NAME}/Talk", Question, Answer)


Bodies = Mapping[str, Callable[[Any, Any], Any]]
"""The implementations of methods, by method name."""


def _add(bodies: Bodies, server: grpc.aio.Server) -> None:
    handlers = {name: _handler(name, body) for name, body in bodies.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))


def _handler(name: str, body: Callable[[Any, Any], Any]) -> Any:
    make = getattr(grpc, f"{arity(getattr(Probe, name))}_rpc_method_handler")
    return make(body, Question.FromString, Answer.SerializeToString)


def arity(rpc: Method[Any, Any]) -> str:
    """In gRPC's spelling, such as `unary_stream`."""
    streams = (rpc.descriptor.client_streaming, rpc.descriptor.server_streaming)
    return "_".join("stream" if streaming else "unary" for streaming in streams)


def servable(bodies: Bodies) -> Servable:
    return Servable(services=[Service(Probe, _add, bodies)])


@asynccontextmanager
async def probing(bodies: Bodies, settings: ServerSettings | None = None) -> AsyncIterator[Served]:
    """Serve the probe while the body runs."""
    async with running(servable(bodies), settings) as served:
        yield served


async def echo(question: Any, context: Any) -> Any:
    return Answer(text=question.text, number=question.number)
