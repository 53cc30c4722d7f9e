"""Tokens at the edge: who gets in, as whom, and what the others get, over gRPC, gRPC-Web and JSON."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
import pytest_asyncio
import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from google.rpc import error_details_pb2, status_pb2
from graphmesh_local.probes import http_get
from graphmesh_mesh.envoy.access_log import REFUSALS
from graphmesh_mesh.envoy.documents import HEALTH_CHECK, MAX_OPEN_STREAMS
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.rates import HEALTH_CHECKS
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.envoy.validate import validate
from graphmesh_mesh.topology import Mesh

from tests.integration.envoy import books_contract
from tests.integration.envoy.egress_harness import Names
from tests.integration.envoy.envoy_harness import (
    EnvoyHarness,
    Outcome,
    books_mesh,
    caller,
    envoy_with_replica,
    error_info,
    eventually,
    failing,
    respond,
)
from tests.integration.envoy.http_client import fetch

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, OTHER_ISSUER = "https://id.example.com", "https://partner.example.com"
GET = books_contract.path("GetBook")
ROLES = {
    "reader": {"scopes": ["books.read"]},
    "writer": {"scopes": ["books.write"]},
    "librarian": {"scopes": ["books.read", "books.write"]},
    "admin": {"scopes": ["*"], "approvals": ["*"]},
}
KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
STRANGE = ec.generate_private_key(ec.SECP256R1())
CALL_NAMES = ("run", "thread", "node", "epoch", "lease", "approval", "run-limits", "customer")
NAMES = ("tenant", "subject", "roles", "scopes", *CALL_NAMES, "client")


def jwk(algorithm: str, key: Any, kid: str = "") -> dict[str, Any]:
    """The public key, without the algorithm, which the mesh adds."""
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    kept: dict[str, Any] = {name: value for name, value in made.items() if name not in ("alg", "key_ops")}
    return {**kept, "kid": kid or algorithm}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    given = {"iss": ISSUER, "aud": "graphmesh", "exp": now + 300, "sub": "mira", "tenant": "acme", "roles": ["reader"]}
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


def token(algorithm: str = "ES256", key: Any = None, headers: Any = None, **changes: Any) -> str:
    return jwt.encode(
        claims(**changes), key or KEYS[algorithm], algorithm, headers={"kid": algorithm, **(headers or {})}
    )


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def pem(key: Any) -> bytes:
    found: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


def by_hand(header: Mapping[str, Any], signed: bytes = b"") -> str:
    """A token that no library would make."""
    return f"{part(header)}.{part(claims())}.{base64.urlsafe_b64encode(signed).decode().rstrip('=')}"


def confused(algorithm: str, secret: bytes) -> str:
    """A token signed with HS256, and the bytes of a public key as the secret."""
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': algorithm})}.{part(claims())}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def relabelled() -> str:
    """A signature of ES256 under a header that says HS256."""
    _, payload, _ = token().split(".")
    made = part({"alg": "HS256", "kid": "ES256"})
    r, s = decode_dss_signature(KEYS["ES256"].sign(f"{made}.{payload}".encode(), ec.ECDSA(hashes.SHA256())))
    signed = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{made}.{payload}.{base64.urlsafe_b64encode(signed).decode().rstrip('=')}"


def tampered() -> str:
    header, _, signature = token().split(".")
    return f"{header}.{part(claims(tenant='other'))}.{signature}"


@dataclass
class TokenEdge:
    """An edge that requires tokens."""

    envoy: EnvoyHarness
    jwks: Path
    mesh: Mesh

    async def call(self, bearer: str | None, headers: Mapping[str, str] | None = None) -> Outcome:
        return await self.envoy.edge(headers={**(headers or {}), **authorization(bearer)})

    async def json(
        self, bearer: str | None, path: str = "/v1/books/b1", headers: Mapping[str, str] | None = None
    ) -> Any:
        return await fetch(self.mesh.edge, "GET", path, headers={**(headers or {}), **authorization(bearer)})

    async def web(self, bearer: str | None, headers: Mapping[str, str] | None = None) -> Any:
        sent = {"content-type": "application/grpc-web+proto", **(headers or {}), **authorization(bearer)}
        return await fetch(self.mesh.edge, "POST", GET, b"\0\0\0\0\0", sent)


def authorization(bearer: str | None) -> dict[str, str]:
    return {} if bearer is None else {"authorization": f"Bearer {bearer}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TokenEdge]:
    folder = tmp_path_factory.mktemp("tokens")
    jwks, partner = folder / "jwks.json", folder / "partner.json"
    jwks.write_text(json.dumps({"keys": [jwk(algorithm, key) for algorithm, key in KEYS.items()]}))
    partner.write_text(json.dumps({"keys": [jwk("ES256", STRANGE, "partner")]}))
    issuers = [
        {"issuer": ISSUER, "audiences": ["graphmesh", "spare"], "jwks_file": str(jwks)},
        {
            "issuer": OTHER_ISSUER,
            "audiences": ["graphmesh"],
            "jwks_file": str(partner),
            "claims": {"tenant": "org.name", "subject": "email", "roles": "realm_access.roles"},
        },
    ]
    mesh = books_mesh(
        edge={"identity": "tokens", "origins": ["https://app"]}, identity={"issuers": issuers}, roles=ROLES
    )
    async with envoy_with_replica(mesh, folder) as envoy:
        made = TokenEdge(envoy, jwks, mesh)

        async def passes() -> bool:
            return (await made.call(token())).code is grpc.StatusCode.OK

        await eventually(passes)
        yield made


@pytest.fixture(autouse=True)
def nothing_received(edge: TokenEdge) -> None:
    edge.envoy.replica.received.clear()


def caller_of(edge: TokenEdge) -> dict[str, str]:
    metadata = edge.envoy.replica.received[-1].metadata
    return {name: metadata[f"x-graphmesh-{name}"] for name in NAMES if f"x-graphmesh-{name}" in metadata}


async def test_envoy_accepts_the_files(edge: TokenEdge) -> None:
    """The validation includes the filter that has a file of its own, and no private key is rendered."""
    files = render(edge.mesh)
    await asyncio.to_thread(validate, files)  # the replica has to answer its health checks meanwhile
    assert b"lds.yaml" not in files["ecds.yaml"]
    assert b'"d"' not in files["ecds.yaml"]


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_caller_is_what_its_token_says(edge: TokenEdge, algorithm: str) -> None:
    """Tenant, subject and the scopes of its roles, over each protocol; the token itself goes no further."""
    bearer = token(algorithm, roles="librarian unknown", azp="app")
    assert (await edge.call(bearer)).code is grpc.StatusCode.OK
    assert (await edge.json(bearer)).status == 200
    assert (await edge.web(bearer)).headers.get("grpc-status", "0") == "0"
    assert len(edge.envoy.replica.received) == 3
    for received in edge.envoy.replica.received:
        assert "authorization" not in received.metadata
        assert caller_of(edge) == {
            "tenant": "acme",
            "subject": "mira",
            "roles": "librarian",
            "scopes": "books.read books.write",
            "client": "app",
        }


async def test_claims_may_be_inside_of_objects(edge: TokenEdge) -> None:
    """As other identity providers have them."""
    theirs = {"org": {"name": "partner"}, "email": "a@b.c", "realm_access": {"roles": ["admin"]}}
    made = claims(iss=OTHER_ISSUER, tenant=None, sub=None, roles=["x"], **theirs)
    bearer = jwt.encode(made, STRANGE, "ES256", headers={"kid": "partner"})
    assert (await edge.call(bearer)).code is grpc.StatusCode.OK
    found = caller_of(edge)
    assert (found["tenant"], found["subject"]) == ("partner", "a@b.c")
    assert found["scopes"].split() == ["approvals.*", "approvals.books", "books.read", "books.write"]


REFUSED: dict[str, Callable[[], str | None]] = {
    "no token": lambda: None,
    "not a token": lambda: "abc",
    "expired": lambda: token(exp=int(time.time()) - 30),
    "without an end": lambda: token(exp=None),
    "not yet valid": lambda: token(nbf=int(time.time()) + 300),
    "another audience": lambda: token(aud="other"),
    "no audience": lambda: token(aud=None),
    "another issuer": lambda: token(iss="https://evil.example.com"),
    "no issuer": lambda: token(iss=None),
    "the key of another issuer": lambda: token(key=STRANGE),
    "the issuer of another key": lambda: token(iss=OTHER_ISSUER),
    "alg none": lambda: by_hand({"alg": "none", "typ": "JWT"}),
    "alg None": lambda: by_hand({"alg": "None"}, b"x"),
    "no alg": lambda: by_hand({"typ": "JWT"}, b"x"),
    "HS256 with the PEM of RS256": lambda: confused("RS256", pem(KEYS["RS256"])),
    "HS256 with the PEM of ES256": lambda: confused("ES256", pem(KEYS["ES256"])),
    "ES256 that says HS256": relabelled,
    "RS384": lambda: jwt.encode(claims(), KEYS["RS256"], "RS384", headers={"kid": "RS256"}),
    "PS256": lambda: jwt.encode(claims(), KEYS["RS256"], "PS256", headers={"kid": "RS256"}),
    "another payload": tampered,
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "no tenant": lambda: token(tenant=None),
    "a tenant of another form": lambda: token(tenant="ACME/other"),
    "a tenant that is a list": lambda: token(tenant=["acme"]),
    "a long tenant": lambda: token(tenant="a" * 64),
    "no subject": lambda: token(sub=None),
    "a subject with a line": lambda: token(sub="mira\r\nx-graphmesh-tenant: other"),
}


@pytest.mark.parametrize("fault", REFUSED)
async def test_others_are_refused(edge: TokenEdge, fault: str) -> None:
    """UNAUTHENTICATED with a reason over each protocol, before anything reaches a service."""
    bearer = REFUSED[fault]()
    over_grpc, over_json, over_web = await edge.call(bearer), await edge.json(bearer), await edge.web(bearer)
    assert over_grpc.code is grpc.StatusCode.UNAUTHENTICATED, over_grpc
    status = status_pb2.Status.FromString(over_grpc.trailing["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("graphmesh", "UNAUTHENTICATED")
    assert (over_json.status, over_json.json["code"]) == (401, 16)
    assert over_json.json["details"] == [error_info("UNAUTHENTICATED")]
    assert over_json.json["message"] == over_grpc.details == status.message != ""
    assert over_web.headers["grpc-status"] == "16"
    assert over_web.headers["grpc-status-details-bin"] == base64.b64encode(status.SerializeToString()).decode()
    assert not edge.envoy.replica.received


async def test_a_token_in_the_query_is_none(edge: TokenEdge) -> None:
    """Paths are logged."""
    assert (await edge.json(None, f"/v1/books/b1?access_token={token()}")).status == 401


SPELLINGS = [
    *({f"x-graphmesh-{name}": "other"} for name in NAMES),
    {"X-GraphMesh-Tenant": "other", "X-GRAPHMESH-SCOPES": "books.write"},
    {"connection": "x-graphmesh-tenant, x-graphmesh-scopes, authorization"},
    {"x-graphmesh-tenant": "", "x-graphmesh-subject": ""},
    {"x-graphmesh-tenant ": "other"},
    {"x-graphmesh-anything-to-come": "other"},
]


@pytest.mark.parametrize("headers", SPELLINGS, ids=str)
async def test_no_header_of_a_client_is_an_identity(edge: TokenEdge, headers: dict[str, str]) -> None:
    """Over each protocol the call is that of its token, or it is refused."""
    mine = {"tenant": "acme", "subject": "mira", "roles": "reader", "scopes": "books.read"}
    if all(name.islower() and name != "connection" and " " not in name for name in headers):
        assert (await edge.call(token(), headers)).code is grpc.StatusCode.OK
        assert caller_of(edge) == mine
    for send in (edge.json, edge.web):
        edge.envoy.replica.received.clear()
        await send(token(), headers=headers)
        assert not edge.envoy.replica.received or caller_of(edge) == mine
        assert not any("to-come" in name for one in edge.envoy.replica.received for name in one.metadata)


async def test_an_underscore_in_a_header_is_refused(edge: TokenEdge) -> None:
    """Some servers read it as a hyphen."""
    assert (await edge.json(token(), headers={"x_graphmesh_tenant": "other"})).status == 400
    assert not edge.envoy.replica.received


async def health_check(edge: TokenEdge, address: str) -> str:
    """Return the gRPC status of a health check without a token, in gRPC-Web from a client address."""
    web = {"content-type": "application/grpc-web+proto"}
    reply = await fetch(edge.mesh.edge, "POST", HEALTH_CHECK, b"\0\0\0\0\0", web, address)
    assert "grpc-status" in reply.headers or b"\x08\x01" in reply.body
    return reply.headers.get("grpc-status", "0")


OPEN_PATHS = ("/grpc.health.v1.Health/Watch", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")


async def test_a_health_check_is_open_and_nothing_else_is(edge: TokenEdge) -> None:
    """Reflection, the OpenAPI document and unknown paths need a token, and so do watches of health, which hold a place
    of a server; browsers may ask for permission without one."""
    assert await health_check(edge, "127.0.0.2") == "0"
    for path in (*OPEN_PATHS, "/grpc.health.v1.Health/List", "/unknown.Service/Method"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await edge.envoy.edge.raw(path)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    for path in ("/openapi.json", "/v1/nothing", "//v1/books/b1", "/grpc.health.v1.Health/../v1/books/b1"):
        assert (await edge.json(None, path)).status == 401, path
    document = (await edge.json(token(), "/openapi.json")).json
    assert document["paths"]["/v1/books/{book_id}"]["get"]["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    asked = {"origin": "https://app", "access-control-request-method": "GET"}
    reply = await fetch(edge.mesh.edge, "OPTIONS", "/v1/books/b1", headers=asked)
    assert (reply.status, "authorization" in reply.headers["access-control-allow-headers"]) == (200, True)


async def test_health_checks_of_an_address_are_bounded(edge: TokenEdge) -> None:
    """It is refused above its rate, over each protocol; another address and calls with a token are not."""

    async def is_refused() -> bool:
        checks = (edge.envoy.edge.raw(HEALTH_CHECK) for _ in range(10 * HEALTH_CHECKS.calls))
        seen = await asyncio.gather(*checks, return_exceptions=True)
        codes = {one.code() for one in seen if isinstance(one, grpc.aio.AioRpcError)}
        assert codes <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
        return bool(codes) and await health_check(edge, "127.0.0.1") == "8"

    await eventually(is_refused)
    assert await health_check(edge, "127.0.0.9") == "0"
    assert (await edge.call(token())).code is grpc.StatusCode.OK


async def test_an_edge_without_an_issuer_refuses_every_caller(tmp_path: Path) -> None:
    """Over each protocol, whatever it sends; health checks pass."""
    mesh = books_mesh(edge={"identity": "tokens"})
    async with envoy_with_replica(mesh, tmp_path) as envoy:
        rule = "the mesh has no issuer of tokens: identity.issuers of mesh.yaml"
        closed = TokenEdge(envoy, tmp_path, mesh)
        for bearer in (None, token()):
            sent = {f"x-graphmesh-{name}": "mira" for name in NAMES}
            called, reply = await closed.call(bearer, sent), await closed.json(bearer, headers=sent)
            assert (called.code, called.details[: len(rule)]) == (grpc.StatusCode.UNAUTHENTICATED, rule)
            assert (reply.status, reply.json["message"][: len(rule)]) == (401, rule)
            assert reply.json["details"][0]["reason"] == "UNAUTHENTICATED"
            assert (await closed.web(bearer, sent)).headers["grpc-status"] == "16"
        assert await envoy.edge.raw(HEALTH_CHECK) == b"\x08\x01"
        assert not envoy.replica.received


async def test_watches_of_health_take_no_place_of_calls(edge: TokenEdge) -> None:
    """As many as the limit are open, from several connections; further ones are refused, and calls are not."""
    bearer, many = tuple(authorization(token()).items()), MAX_OPEN_STREAMS + 20
    async with AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(caller(edge.mesh.edge)) for _ in range(3)]
        watches = [callers[number % 3].watch_health(bearer) for number in range(many)]
        seen = await asyncio.gather(*(watch.read() for watch in watches), return_exceptions=True)
        refused = [one for one in seen if isinstance(one, grpc.aio.AioRpcError)]
        assert (len(refused), {one.code() for one in refused}) == (20, {grpc.StatusCode.UNAVAILABLE})
        assert (await edge.call(token())).code is grpc.StatusCode.OK
        for watch in watches:
            watch.cancel()


@pytest.mark.parametrize("roles", [["writer"], ["unknown"], [], None, "writer unknown", {"reader": True}, [["reader"]]])
async def test_a_role_without_the_scopes_of_a_method_is_refused_at_the_edge(edge: TokenEdge, roles: Any) -> None:
    """SCOPE_MISSING with the scopes over each protocol, as the service would answer; nothing reaches it."""
    bearer = token(roles=roles)
    over_grpc, over_json, over_web = await edge.call(bearer), await edge.json(bearer), await edge.web(bearer)
    assert over_grpc.code is grpc.StatusCode.PERMISSION_DENIED, over_grpc
    assert over_grpc.details == "The caller lacks the scopes books.read"
    status = status_pb2.Status.FromString(over_grpc.trailing["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, dict(info.metadata)) == ("SCOPE_MISSING", {"scopes": "books.read"})
    assert (status.code, status.message) == (7, over_grpc.details)
    assert (over_json.status, over_json.json["code"], over_json.json["message"]) == (403, 7, over_grpc.details)
    assert over_json.json["details"] == [{**error_info("SCOPE_MISSING"), "metadata": {"scopes": "books.read"}}]
    assert over_web.headers["grpc-status"] == "7"
    assert over_web.headers["grpc-status-details-bin"] == base64.b64encode(status.SerializeToString()).decode()
    assert not edge.envoy.replica.received


async def test_a_refusal_of_the_service_keeps_its_status(edge: TokenEdge) -> None:
    """PERMISSION_DENIED of a caller with a token is HTTP 403: another token changes nothing."""
    edge.envoy.replica.handler = failing(grpc.StatusCode.PERMISSION_DENIED, "the graph is not allowed")
    try:
        over_grpc, over_json, over_web = await edge.call(token()), await edge.json(token()), await edge.web(token())
    finally:
        edge.envoy.replica.handler = respond
    assert (over_grpc.code, over_grpc.details) == (grpc.StatusCode.PERMISSION_DENIED, "the graph is not allowed")
    assert (over_json.status, over_json.json["code"]) == (403, 7)
    assert (over_json.json["message"], over_web.headers["grpc-status"]) == (over_grpc.details, "7")


async def test_an_edit_of_the_roles_applies_to_open_connections(edge: TokenEdge) -> None:
    """A role gets and loses scopes at once, also on connections that were opened before."""

    async def calls_until(roles: Any, code: grpc.StatusCode) -> None:
        edited = {**edge.mesh.model_dump(), "roles": {"roles": roles}}
        write(edge.envoy.folder, render(Mesh.model_validate(edited)))

        async def is_applied() -> bool:
            return (await edge.call(bearer)).code is code

        await eventually(is_applied)

    bearer = token(roles=["writer"])
    await calls_until({**ROLES, "writer": {"scopes": ["books.read"]}}, grpc.StatusCode.OK)
    await calls_until(ROLES, grpc.StatusCode.PERMISSION_DENIED)


async def test_revoked_tokens_are_refused_on_open_connections(edge: TokenEdge) -> None:
    """One token by its id; all tokens of a subject or of a tenant that were issued before a time, or state none."""
    noon, text = 1_790_000_000, "2026-09-21T14:13:20Z"
    revoked = {"tokens": ["one"], "subjects": {"acme/eve": text}, "tenants": {"closed": text}}
    refused: dict[str, dict[str, Any]] = {
        "the token": {"jti": "one"},
        "of the subject, before": {"sub": "eve", "iat": noon - 1},
        "of the subject, without a time": {"sub": "eve"},
        "of the tenant, before": {"tenant": "closed", "iat": noon - 1},
    }
    accepted: dict[str, dict[str, Any]] = {
        "another token": {"jti": "two"},
        "of the subject, since": {"sub": "eve", "iat": noon},
        "of a subject of that name of another tenant": {"sub": "eve", "tenant": "other"},
        "of the tenant, since": {"tenant": "closed", "iat": noon},
    }
    bearers = {name: token(**one) for name, one in (refused | accepted).items()}
    for bearer in bearers.values():
        assert (await edge.call(bearer)).code is grpc.StatusCode.OK
    section = {**edge.mesh.model_dump()["identity"], "revoked": revoked}
    write(edge.envoy.folder, render(Mesh.model_validate({**edge.mesh.model_dump(), "identity": section})))

    async def is_applied() -> bool:
        return (await edge.call(bearers["the token"])).code is grpc.StatusCode.UNAUTHENTICATED

    await eventually(is_applied)
    for name in refused:
        assert (await edge.call(bearers[name])).details == (await edge.json(bearers[name])).json["message"], name
        assert (await edge.call(bearers[name])).details == "the token is revoked"
    for name in accepted:
        assert (await edge.call(bearers[name])).code is grpc.StatusCode.OK, name
    write(edge.envoy.folder, render(edge.mesh))


async def test_refused_calls_are_a_bounded_part_of_the_log(edge: TokenEdge) -> None:
    """Others all have a line. What a client chooses of a line is cut."""
    began = time.monotonic() - 60  # the tests before may have refused calls too

    async def lines(status: str) -> list[str]:
        return [line for line in edge.envoy.log.read_text().splitlines() if f'"path":"{status}' in line]

    before = len(await lines("/v1/books/logged"))
    for number in range(200):
        await edge.json(None, f"/v1/books/refused{number}{'x' * 4000}")
    for _ in range(3):
        await edge.json(token(), "/v1/books/logged")

    async def has_all() -> bool:
        return len(await lines("/v1/books/logged")) == before + 3

    await eventually(has_all)
    refused = await lines("/v1/books/refused")
    assert len(refused) <= REFUSALS["burst"] + REFUSALS["second"] * (time.monotonic() - began)
    assert all(len(line) < 2500 for line in refused)


async def test_new_keys_apply_to_open_connections(edge: TokenEdge) -> None:
    """A removed key is refused at once, also where its token was accepted before on the same connection."""
    old, new = token("EdDSA"), ed25519.Ed25519PrivateKey.generate()
    assert (await edge.call(old)).code is grpc.StatusCode.OK
    before = edge.jwks.read_text()
    kept = [one for one in json.loads(before)["keys"] if one["kid"] != "EdDSA"]
    edge.jwks.write_text(json.dumps({"keys": [*kept, jwk("EdDSA", new, "new")]}))
    write(edge.envoy.folder, render(Mesh.model_validate(edge.mesh.model_dump())))
    bearer = token("EdDSA", key=new, headers={"kid": "new"})

    async def is_replaced() -> bool:
        return (await edge.call(bearer)).code is grpc.StatusCode.OK

    await eventually(is_replaced)
    assert (await edge.call(old)).code is grpc.StatusCode.UNAUTHENTICATED
    edge.jwks.write_text(before)


@asynccontextmanager
async def serving_keys(tls: ssl.SSLContext | None = None, requests: list[bytes] | None = None) -> AsyncIterator[int]:
    """Serve the keys at every path of a port; the heads of requests are added to `requests`."""
    body = json.dumps({"keys": [jwk("RS256", KEYS["RS256"])]}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            if requests is not None:
                requests.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


def with_keys_at(url: str, egress: Any = None, **issuer: Any) -> Mesh:
    issuer = {"issuer": ISSUER, "audiences": ["graphmesh"], "jwks_url": url, **issuer}
    return books_mesh(edge={"identity": "tokens"}, identity={"issuers": [issuer]}, roles=ROLES, egress=egress)


async def statistic(envoy: EnvoyHarness, name: str) -> int:
    body = (await http_get(f"http://{envoy.mesh.admin.target}/stats?filter=^{name}$")).body
    return int(body.partition(": ")[2] or 0)


async def passes(edge: TokenEdge) -> bool:
    return (await edge.call(token("RS256"))).code is grpc.StatusCode.OK


async def test_keys_of_a_name_are_read_from_addresses_that_envoy_may_call(tmp_path: Path) -> None:
    """With egress in mesh.yaml, no request is sent to another one."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("keys.test").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    requests = list[bytes]()
    async with serving_keys(context, requests) as port, Names({"keys.test": ["127.0.0.1"]}).serving() as names:
        url, envoys = f"https://keys.test:{port}/keys", {"hosts": [f"keys.test:{port}"]}
        egress = {"resolvers": [f"127.0.0.1:{names.port}"], "workloads": {"envoy": envoys}}
        mesh = with_keys_at(url, egress, ca=tmp_path / "ca.pem")
        async with envoy_with_replica(mesh, tmp_path) as envoy:
            edge = TokenEdge(envoy, tmp_path, mesh)

            async def has_tried_with_an_address() -> bool:
                tried.append(await statistic(envoy, "http.edge.jwt_authn.jwks_fetch_failed"))
                is_resolved = await statistic(envoy, "cluster.issuer-0.membership_total") == 1
                first.extend(tried[-1:] if is_resolved and not first else [])
                return bool(first) and tried[-1] >= first[0] + 2

            tried, first = list[int](), list[int]()
            await eventually(has_tried_with_an_address)
            assert not await passes(edge)
            assert not requests
            plain = mesh.model_dump()
            plain["egress"]["workloads"]["envoy"]["private"] = ["127.0.0.1"]
            write(envoy.folder, render(Mesh.model_validate(plain)))
            await eventually(partial(passes, edge))


async def test_keys_may_come_from_a_url(tmp_path: Path) -> None:
    """Envoy reads them; a token of another key is refused, as one of another algorithm of the same key is."""
    async with (
        serving_keys() as port,
        envoy_with_replica(mesh := with_keys_at(f"http://127.0.0.1:{port}/keys"), tmp_path) as envoy,
    ):
        edge = TokenEdge(envoy, tmp_path, mesh)
        await eventually(partial(passes, edge))
        for refused in (token("ES256"), REFUSED["RS384"](), REFUSED["HS256 with the PEM of RS256"]()):
            assert (await edge.call(refused)).code is grpc.StatusCode.UNAUTHENTICATED
