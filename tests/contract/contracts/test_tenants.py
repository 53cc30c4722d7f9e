"""No tenant learns or changes anything of another one, through any RPC of any service.

One tenant makes every call that can name something of a tenant (`tenant_life`). Its requests are then repeated, newest
first so that nothing of the same name has been made yet, by a tenant that knows its ids, and by one that has ids that
never existed: the answers have to be the same.
"""

import base64
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from graphmesh.model.v1 import ModelService
from graphmesh.orchestrator.v1 import RunService, WebhookService
from graphmesh.sql.v1 import SqlService
from graphmesh_chassis.status import from_rpc_error
from graphmesh_contracts import Idempotency, Method, method_policy

from tests.contract.contracts.servers import SERVICES, serve
from tests.contract.contracts.tenant_life import SECRET, leave_open, live
from tests.contract.fields import rpcs

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPHS = {name: f"{Path(__file__).with_name('tenant_graphs.py')}:{name}" for name in ("asking", "charging")}
OWNER, KNOWING, GUESSING = "owner", "knowing", "guessing"
NAMES = re.compile(r"(^|_)(ids?|key|token|digest|namespace|prefix|run|thread|assistant)(_|$)")
"""The fields that name something of a tenant."""
OF_NO_TENANT = {ModelService.ListModels.path, ModelService.Embed.path, RunService.ListGraphs.path}
"""The RPCs that read and change nothing of a tenant."""
SQL = f"/{SqlService.NAME}/"
"""Tenants share the queried database, whose row security separates them."""
NOT_STATED = re.compile(
    r"ModelService/(Stream)?Generate\.prompt\."  # of vendors and of the prompt itself
    r"|ModelService/ListUsage\.page_token"  # there is one sum only
    r"|Schedule\.spec\.run\.(checkpoint_id|request_id)"  # no run of a schedule has them
    r"|ThreadService/\w+State.*\.namespace"  # of a thread, which is named too
)
CHANGING = {WebhookService.ListDeliveries}
"""The reads whose answers change by themselves: deliveries are attempted again and again."""
ALL_RPCS = {rpc.path: (name, rpc) for name, service in SERVICES.items() for rpc in rpcs(service)}


@dataclass(frozen=True)
class Answer:
    """An answer as its caller sees it: the response or the status, and the trailing metadata."""

    code: str
    content: Any
    trailing: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Callers:
    """Calls of several tenants to servers of all services."""

    channels: Mapping[str, grpc.aio.Channel]
    made: list[tuple[Method[Any, Any], dict[str, Any], str]] = field(default_factory=list)
    """The calls of the owner: RPC, request as JSON, effect key."""
    attempts: list[tuple[Method[Any, Any], dict[str, Any], str]] = field(default_factory=list)
    """Calls that the owner did not make, and others attempt."""
    ids: set[str] = field(default_factory=set)
    """Strings of its requests and responses that may name something."""

    async def call(self, rpc: Method[Any, Any], **fields: Any) -> Any:
        """Make a call of the owner, which has to succeed."""
        key = f"mine-key-{len(self.made)}"
        answer = await self.send(rpc, fields, OWNER, key)
        assert answer.code == "OK", f"{rpc.tool}: {answer}"
        self.made.append((rpc, fields, key))
        responses = answer.content if isinstance(answer.content, list) else [answer.content]
        self.ids |= {text for part in (fields, *responses) for text in _names(part)}
        return responses[0] if responses else {}

    def attempt(self, rpc: Method[Any, Any], **fields: Any) -> None:
        """Let the others attempt a call that would change what the owner has."""
        self.attempts.append((rpc, fields, f"attempt-{len(self.attempts)}"))

    async def send(self, rpc: Method[Any, Any], fields: dict[str, Any], tenant: str, key: str) -> Answer:
        channel = self.channels[ALL_RPCS[rpc.path][0]]
        payload = json_format.ParseDict(fields, rpc.request()).SerializeToString()
        streams = rpc.descriptor.server_streaming
        make: Any = channel.unary_stream if streams else channel.unary_unary
        headers = (("x-graphmesh-tenant", tenant), ("idempotency-key", key))
        call = make(rpc.path, None, rpc.response.FromString)(payload, timeout=60, metadata=headers)
        try:
            content = [_json(one) async for one in call] if streams else _json(await call)
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error, rpc.tool)
            violations = [[one.field, one.description] for one in refusal.violations]
            return Answer(error.code().name, [refusal.reason, refusal.message, dict(refusal.data), violations])
        trailing = {name: str(value) for name, value in await call.trailing_metadata() or ()}
        return Answer("OK", content, trailing)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callers]:
    """The servers, after the owner has made its calls."""
    async with AsyncExitStack() as stack:
        names = sorted({name for path, (name, _) in ALL_RPCS.items() if not path.startswith(SQL)})
        servers = {name: serve(name, tmp_path_factory.mktemp(name), GRAPHS) for name in names}
        made = Callers({name: await stack.enter_async_context(server) for name, server in servers.items()})
        await live(made.call)
        await leave_open(made.call, made.attempt)
        yield made


async def test_every_rpc_of_a_tenant_is_called(callers: Callers) -> None:
    """A new one has to be added to `tenant_life`."""
    lacking = ALL_RPCS.keys() - OF_NO_TENANT - {rpc.path for rpc, _, _ in callers.made}
    assert not {path for path in lacking if not path.startswith(SQL)}


async def test_every_field_that_can_name_something_is_stated(callers: Callers) -> None:
    """Also those of nested messages, in one call at least; a new one has to be added to `tenant_life`."""
    lacking = {(path, field) for path, (_, rpc) in ALL_RPCS.items() for field in _fields(rpc.request.DESCRIPTOR)}
    for rpc, fields, _ in (*callers.made, *callers.attempts):
        lacking -= {(rpc.path, field) for field in _stated(json_format.ParseDict(fields, rpc.request()))}
    assert not {(path, field) for path, field in lacking if not NOT_STATED.search(f"{path}.{field}")}


async def test_the_ids_of_another_tenant_are_as_unknown_as_those_that_never_existed(callers: Callers) -> None:
    """The same code, reason, message and data, and nothing of the owner; afterwards all of it is as it was."""
    before = await _reads(callers)
    for rpc, fields, key in (*callers.attempts, *reversed(callers.made)):
        mine = _translated(fields, {SECRET: "other"})
        others = {name: _never_existed(name) for name in callers.ids if name in json.dumps(mine)}
        known = await callers.send(rpc, mine, KNOWING, key)
        unknown = await callers.send(rpc, _translated(mine, others), GUESSING, f"none{key}")
        assert SECRET not in json.dumps(known.content), f"{rpc.tool} {mine}"
        assert _comparable(known, others) == _comparable(unknown, others), f"{rpc.tool} {mine}"
    assert await _reads(callers) == before


async def _reads(callers: Callers) -> list[Answer]:
    """Read all of the owner's again."""
    policies = {path: method_policy(rpc.descriptor).idempotency for path, (_, rpc) in ALL_RPCS.items()}
    reads = [made for made in callers.made if policies[made[0].path] is Idempotency.READ and made[0] not in CHANGING]
    return [await callers.send(rpc, fields, OWNER, key) for rpc, fields, key in reads]


def _fields(message: Descriptor, inside: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the paths of the fields of a message that can name something of a tenant."""
    if message.full_name in inside or message.full_name.startswith("google.") or message.GetOptions().map_entry:
        return
    for one in message.fields:
        if one.message_type is not None:
            yield from (f"{one.name}.{path}" for path in _fields(one.message_type, (*inside, message.full_name)))
        elif NAMES.search(one.name):
            yield one.name


def _stated(message: Message) -> Iterator[str]:
    """Yield the paths of the fields that a message has."""
    for one, value in message.ListFields():
        yield one.name
        if one.message_type is not None and not one.message_type.GetOptions().map_entry:
            for inner in value if one.is_repeated else [value]:
                yield from (f"{one.name}.{path}" for path in _stated(inner))


def _json(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = json_format.MessageToDict(message)
    return found


def _names(part: Any) -> set[str]:
    """The strings in a JSON value that may name something: texts without spaces, with a digit or a prefix of ours."""
    if isinstance(part, Mapping):
        return {name for key, value in part.items() for name in _names(value) | _names(key)}
    if isinstance(part, list):
        return {name for value in part for name in _names(value)}
    is_name = isinstance(part, str) and re.fullmatch(r"mine[\w-]*|(?=.*\d)[\w./#=-]{6,}|T-\d+", part)
    return {part} if is_name and not re.match(r"\d{4}-\d\d-\d\d|[\d.]+s?$", part) else set()


def _never_existed(name: str) -> str:
    """A name of the same form that nothing has. The token of a page names what its position names."""
    if position := _position(name):
        return base64.urlsafe_b64encode(json.dumps([_other(one) for one in position]).encode()).decode()
    return str(_other(name))


def _other(name: Any) -> Any:
    if not isinstance(name, str) or re.match(r"\d{4}-\d\d-\d\d", name):
        return name
    if name.startswith("T-"):
        return f"{name}77"
    return re.sub(r"mine", "none", name) if "mine" in name else name[:-4] + name[-4:].translate(TURNED)


TURNED = str.maketrans("0123456789abcdef", "123456789abcdef0")


def _position(token: str) -> list[Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def _translated(part: Any, names: Mapping[str, str]) -> Any:
    if isinstance(part, Mapping):
        return {_translated(key, names): _translated(value, names) for key, value in part.items()}
    if isinstance(part, list):
        return [_translated(value, names) for value in part]
    if isinstance(part, str):
        return names.get(part) or (part.replace(SECRET, names[SECRET]) if SECRET in names else part)
    return part


def _comparable(answer: Answer, others: Mapping[str, str]) -> tuple[str, str, dict[str, str]]:
    """An answer without the names that it was asked for, generated ids and times."""
    text = json.dumps(answer.content, sort_keys=True)
    for mine, other in sorted(others.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(other, "<name>").replace(mine, "<name>")
    text = re.sub(r"\b(none|mine)[\w-]*", "<name>", text)
    text = re.sub(r"[0-9a-f]{32,64}|[0-9a-f]{8}-[0-9a-f-]{27}", "<generated>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)
    text = re.sub(r'"nextPageToken": "[^"]+"', "<token>", text)
    return answer.code, text, dict(answer.trailing)
