"""A server with a certificate accepts calls of Envoy, and health checks of the prober; certificates are replaced."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.workload import Workload, client_credentials
from graphmesh_contracts import Overrides
from graphmesh_contracts.workloads import COMMANDS, ENVOY, PROBER
from graphmesh_local.certificates import add_authority, issue_certificates, open_authority
from graphmesh_mesh.mutual_tls import AUTHORITIES, certificate_file
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from pydantic import ValidationError

from tests.integration.chassis.probe import NAME, Answer, Probe, Question, probing

DOMAIN, OTHER_DOMAIN = "shop.example", "evil.example"
LONG = 60.0
"""Seconds within which what a test waits for happens on any machine."""


def issue(folder: Path, domain: str = DOMAIN) -> None:
    issue_certificates(folder, domain, ("billing", "crm", ENVOY, PROBER, COMMANDS))


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    open_authority(tmp_path)
    issue(tmp_path)
    return tmp_path


def settings(folder: Path, workload: str = "billing") -> ServerSettings:
    return ServerSettings(certificate=folder / certificate_file(workload), authorities=folder / AUTHORITIES)


def workload(folder: Path, name: str) -> Workload:
    return Workload(folder / certificate_file(name), folder / AUTHORITIES)


async def state_certificate(question: Any, context: Any) -> Any:
    """Answer with the digest of the caller's certificate."""
    return Answer(text=hashlib.sha256(context.auth_context()["x509_pem_cert"][0]).hexdigest())


@pytest_asyncio.fixture
async def address(certificates: Path) -> AsyncIterator[str]:
    async with probing({"Ask": state_certificate}, settings(certificates)) as served:
        yield served.address


def connect(address: str, folder: Path, name: str) -> grpc.aio.Channel:
    """Connect to the server as a workload."""
    return connect_with(address, client_credentials(workload(folder, name).credentials()))


def connect_with(address: str, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    options = [("grpc.ssl_target_name_override", "billing"), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(address, credentials, options=options)


def ask(channel: grpc.aio.Channel) -> Any:
    rpc: Any = channel.unary_unary(Probe.Ask.path, Question.SerializeToString, Answer.FromString)
    return rpc(Question(), timeout=LONG)


def check_health(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=NAME), timeout=LONG)


async def list_services(channel: grpc.aio.Channel) -> list[Any]:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), timeout=LONG)
    return [response async for response in call]


async def open_reflection(channel: grpc.aio.Channel) -> None:
    """Open the reflection stream, and read before anything is written.

    grpc.aio reports a stream whose first message meets a refusal as INTERNAL, instead of by the server's status.
    """
    await reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(timeout=LONG).read()


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Return the status code, the reason and the metadata with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    info, status = error_details_pb2.ErrorInfo(), rpc_status.from_call(refused.value)
    if status is not None:
        status.details[0].Unpack(info)
    return refused.value.code(), info.reason, dict(info.metadata)


async def test_envoy_may_call_everything(address: str, certificates: Path) -> None:
    async with connect(address, certificates, ENVOY) as channel:
        assert (await ask(channel)).text
        assert (await check_health(channel)).status == health_pb2.HealthCheckResponse.SERVING
        assert await list_services(channel)


async def test_the_prober_may_only_check_health(address: str, certificates: Path) -> None:
    denied = {"workload": f"spiffe://{DOMAIN}/{PROBER}"}
    async with connect(address, certificates, PROBER) as channel:
        assert (await check_health(channel)).status == health_pb2.HealthCheckResponse.SERVING
        for call in (ask(channel), open_reflection(channel)):
            expected = grpc.StatusCode.PERMISSION_DENIED, "WORKLOAD_NOT_ALLOWED", denied
            assert await refusal(call) == expected


@pytest.mark.parametrize("name", ["billing", "crm", COMMANDS])
async def test_other_workloads_are_refused(address: str, certificates: Path, name: str) -> None:
    async with connect(address, certificates, name) as channel:
        for call in (ask(channel), check_health(channel), open_reflection(channel)):
            code, reason, metadata = await refusal(call)
            assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "WORKLOAD_NOT_ALLOWED")
            assert metadata == {"workload": f"spiffe://{DOMAIN}/{name}"}


async def test_envoy_of_another_trust_domain_is_refused(address: str, certificates: Path) -> None:
    issue_certificates(certificates, OTHER_DOMAIN, [ENVOY])
    async with connect(address, certificates, ENVOY) as channel:
        assert await refusal(ask(channel)) == (
            *(grpc.StatusCode.PERMISSION_DENIED, "WORKLOAD_NOT_ALLOWED"),
            {"workload": f"spiffe://{OTHER_DOMAIN}/{ENVOY}"},
        )


async def test_connections_without_a_certificate_of_the_authority_are_refused(
    address: str, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    forged = tmp_path_factory.mktemp("forged")
    open_authority(forged)
    issue(forged)
    (forged / AUTHORITIES).write_bytes((certificates / AUTHORITIES).read_bytes())
    anonymous = grpc.ssl_channel_credentials((certificates / AUTHORITIES).read_bytes())
    for channel in (
        connect(address, forged, ENVOY),
        connect_with(address, anonymous),
        grpc.aio.insecure_channel(address),
    ):
        async with channel:
            for call in (ask(channel), check_health(channel)):
                assert (await refusal(call))[0] is grpc.StatusCode.UNAVAILABLE


async def test_certificates_and_authorities_are_replaced_under_load(certificates: Path) -> None:
    """Every call succeeds: those that are open when a certificate changes, streams too, and those after it."""
    finished, seen = asyncio.Event(), set[str]()

    async def answer_later(question: Any, context: Any) -> Any:
        await asyncio.sleep(0.05)
        return await state_certificate(question, context)

    async def count_until_finished(question: Any, context: Any) -> AsyncIterator[Any]:
        while not finished.is_set():
            yield Answer()
            await asyncio.sleep(0.05)

    async def keep_asking(channel: Channel) -> None:
        while not finished.is_set():
            seen.add((await channel.unary(Probe.Ask, Question(), deadline=Deadline.after(LONG))).text)

    async def listen(channel: Channel) -> int:
        return len([one async for one in channel.stream(Probe.Count, Question(), deadline=None)])

    async def wait_for_certificates(count: int) -> None:
        while len(seen) < count:
            await asyncio.sleep(0.01)

    bodies = {"Ask": answer_later, "Count": count_until_finished}
    client = workload(certificates, ENVOY)
    policy = Overrides(service={"maxConcurrency": 20}, methods={"Count": {"timeout": f"{LONG:g}s"}})
    async with (
        asyncio.timeout(LONG),
        probing(bodies, settings(certificates, ENVOY).model_copy(update={"policy": policy})) as served,
        Channel(served.address, workload=client) as channel,
        asyncio.TaskGroup() as calls,
    ):
        streams = [calls.create_task(listen(channel))]
        for _ in range(3):
            calls.create_task(keep_asking(channel))
        await wait_for_certificates(1)
        issue(certificates)
        await wait_for_certificates(2)
        streams.append(calls.create_task(listen(channel)))
        add_authority(certificates)
        while client.credentials().authorities.count(b"BEGIN") < 2:
            await asyncio.sleep(0.01)
        issue(certificates)
        await wait_for_certificates(3)
        finished.set()
    assert all([await stream for stream in streams])


async def test_a_removed_authority_is_not_trusted_any_more(
    address: str, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    former = tmp_path_factory.mktemp("former")
    for file in certificates.iterdir():
        (former / file.name).write_bytes(file.read_bytes())
    for _ in range(2):
        add_authority(certificates)
        issue(certificates)
    (former / AUTHORITIES).write_bytes((certificates / AUTHORITIES).read_bytes())
    async with connect(address, former, ENVOY) as channel:
        assert (await refusal(ask(channel)))[0] is grpc.StatusCode.UNAVAILABLE
    async with connect(address, certificates, ENVOY) as channel:
        assert (await ask(channel)).text


async def test_a_broken_file_changes_nothing(address: str, certificates: Path) -> None:
    trusted = client_credentials(workload(certificates, ENVOY).credentials())
    for file in (certificate_file("billing"), AUTHORITIES):
        (certificates / file).write_text("broken")
        async with connect_with(address, trusted) as channel:
            assert (await ask(channel)).text


BROKEN: Mapping[str, tuple[Callable[[bytes, bytes], bytes], str]] = {
    "no key": (lambda own, other: own[own.index(b"-----BEGIN CERT") :], "one private key"),
    "no certificate": (lambda own, other: own[: own.index(b"-----BEGIN CERT")], "no certificates"),
    "another key": (
        lambda own, other: own[: own.index(b"-----BEGIN CERT")] + other[other.index(b"-----BEGIN CERT") :],
        "another key",
    ),
    "no PEM": (lambda own, other: b"\0" * 100, "one private key"),
}


@pytest.mark.parametrize("change", BROKEN)
def test_settings_refuse_files_that_cannot_be_used(certificates: Path, change: str) -> None:
    own, other = ((certificates / certificate_file(name)).read_bytes() for name in ("billing", "crm"))
    make, rule = BROKEN[change]
    (certificates / certificate_file("billing")).write_bytes(make(own, other))
    with pytest.raises(ValidationError, match=rule):
        settings(certificates)


def test_settings_need_a_certificate_and_its_authorities(certificates: Path) -> None:
    with pytest.raises(ValidationError, match="the one needs the other"):
        ServerSettings(certificate=certificates / certificate_file("billing"))
    with pytest.raises(ValidationError, match="No such file"):
        ServerSettings(certificate=certificates / "absent.pem", authorities=certificates / AUTHORITIES)
