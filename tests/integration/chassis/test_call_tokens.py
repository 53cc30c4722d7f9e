"""A server with `call_keys` acts on the token of a call only: forged, stolen, expired tokens, and keys that change."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from graphmesh_chassis import call_tokens
from graphmesh_chassis.call_keys import encoded, jwk_of, verifying_keys
from graphmesh_chassis.call_tokens import CallSigner, CallVerifier
from graphmesh_chassis.calls import current_call, fingerprint
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import ApprovalMismatch, IdempotencyKeyRequired, ScopeMissing, Unauthenticated
from graphmesh_chassis.reread_file import RereadFile
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.testing import Served
from graphmesh_local.call_keys import PRIVATE, PUBLIC, open_call_keys, replace_call_key
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.chassis.probe import NAME, Answer, Probe, Question, probing

ACME = (("x-graphmesh-tenant", "acme"), ("x-graphmesh-subject", "ada"))
READ, WRITE = ("x-graphmesh-scopes", "probe.read"), ("x-graphmesh-scopes", "probe.write")
IN_RUN = (("x-graphmesh-run", "run_1"), ("x-graphmesh-thread", "th_1"), ("x-graphmesh-node", "r\u00fcckzahlung"))
EFFECT = (*ACME, WRITE, *IN_RUN[:2], ("idempotency-key", "k1"), ("x-graphmesh-epoch", "3"))
APPROVED = (
    ("x-graphmesh-approval", "apr_1"),
    ("x-graphmesh-approval-digest", fingerprint(Probe.Change.path, Question(number=5)).hex()),
)
SMUGGLED = {
    "x-graphmesh-tenant": "umbrella",
    "x-graphmesh-subject": "eve",
    "x-graphmesh-scopes": "probe.read probe.write",
    "x-graphmesh-run": "run_9",
    "x-graphmesh-thread": "th_9",
    "x-graphmesh-node": "other",
    "x-graphmesh-epoch": "99",
    "x-graphmesh-approval": "apr_9",
    "x-graphmesh-approval-digest": "0" * 64,
    "x-graphmesh-run-limits": "cost=1",
    "x-graphmesh-client": "other",
    "x-graphmesh-roles": "admin",
    "x-graphmesh-any": "1",
    "idempotency-key": "k9",
}


async def state_headers(question: Any, context: Any) -> Any:
    """Answer with all that the service would act on, as JSON."""
    call = current_call()
    stated = {name: call.header(name) for name in SMUGGLED if call.header(name)}
    by_value = {"tenant": call.caller.tenant, "subject": call.caller.subject, "epoch": call.epoch or 0}
    return Answer(text=json.dumps({**by_value, "n": len(stated)}), counts=dict.fromkeys(stated, 1))


async def count_once(question: Any, context: Any) -> AsyncIterator[Any]:
    yield Answer(text="counted")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    open_call_keys(tmp_path)
    return tmp_path


@pytest_asyncio.fixture
async def served(keys: Path) -> AsyncIterator[Served]:
    bodies = {"Ask": state_headers, "Change": state_headers, "Count": count_once}
    async with probing(bodies, ServerSettings(call_keys=keys / PUBLIC)) as served:
        yield served


def token_of(keys: Path, path: str, *headers: tuple[str, str]) -> str:
    return dict(CallSigner(keys / PRIVATE).sign(path, headers))["x-graphmesh-call-token"]


async def ask(
    served: Served, token: str | None, *headers: tuple[str, str], rpc: Any = Probe.Ask, number: int = 0
) -> Any:
    own = () if token is None else (("x-graphmesh-call-token", token),)
    request = Question(number=number)
    answer = await served.channel.unary(rpc, request, deadline=Deadline.after(60), headers=(*headers, *own))
    return {**json.loads(answer.text), "stated": set(answer.counts)}


async def test_the_token_states_all_that_a_service_acts_on(served: Served, keys: Path) -> None:
    signer = CallSigner(keys / PRIVATE)
    async with Channel(served.address, signer=signer) as channel:
        signed = Served(served.running, channel)
        received = await ask(signed, None, *EFFECT, *APPROVED, rpc=Probe.Change, number=5)
    assert (received["tenant"], received["subject"], received["epoch"]) == ("acme", "ada", 3)
    assert {"x-graphmesh-approval", "x-graphmesh-run", "idempotency-key"} <= received["stated"]


async def test_headers_beside_a_token_are_not_believed(served: Served, keys: Path) -> None:
    """Each header that a token replaces is dropped, where the token says otherwise and where it says nothing."""
    token = token_of(keys, Probe.Ask.path, *ACME, READ)
    received = await ask(served, token, *SMUGGLED.items())
    assert (received["tenant"], received["subject"], received["epoch"]) == ("acme", "ada", 0)
    assert received["stated"] == {"x-graphmesh-tenant", "x-graphmesh-subject", "x-graphmesh-scopes"}


async def test_an_approval_key_or_scope_beside_a_token_is_not_believed(served: Served, keys: Path) -> None:
    read_only = token_of(keys, Probe.Change.path, *ACME, READ, ("idempotency-key", "k1"))
    with pytest.raises(ScopeMissing):
        await ask(served, read_only, WRITE, rpc=Probe.Change)
    without_key = token_of(keys, Probe.Change.path, *ACME, WRITE)
    with pytest.raises(IdempotencyKeyRequired):
        await ask(served, without_key, ("idempotency-key", "k1"), rpc=Probe.Change)


async def test_a_call_without_a_token_is_unauthenticated(served: Served) -> None:
    """Health alone stays open, as the prober has no token."""
    with pytest.raises(Unauthenticated, match="it is missing") as refused:
        await ask(served, None, *SMUGGLED.items())
    assert refused.value.reason == "UNAUTHENTICATED"
    async with grpc.aio.insecure_channel(served.address) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=NAME))
    assert health.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("seconds", [7200, -7200])
async def test_a_signer_goes_by_the_clock_of_the_service(
    served: Served, keys: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Clocks of machines jump. A call that was refused for the time of its token is made with another one, once."""
    check, refused = call_tokens._check_time, 0

    def check_by_another_clock(claims: Any, now: float) -> None:
        nonlocal refused
        refused += 1
        check(claims, now + seconds)
        refused -= 1

    monkeypatch.setattr(call_tokens, "_check_time", check_by_another_clock)
    async with Channel(served.address, signer=CallSigner(keys / PRIVATE)) as channel:
        signed = Served(served.running, channel)
        for _ in range(3):
            assert (await ask(signed, None, *EFFECT, rpc=Probe.Change))["tenant"] == "acme"
    async with Channel(served.address, signer=CallSigner(keys / PRIVATE)) as channel:
        stream = channel.stream(Probe.Count, Question(), deadline=Deadline.after(60), headers=(*ACME, READ))
        assert [answer.text async for answer in stream] == ["counted"]
    assert refused == 2


async def test_a_service_whose_clock_never_agrees_is_not_called_again_and_again(
    served: Served, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may state any time: the call ends after three attempts."""
    attempts = count(1)

    def refuse(claims: Any, now: float) -> None:
        raise call_tokens._refusal("it has expired", time=next(attempts) * 1000)

    monkeypatch.setattr(call_tokens, "_check_time", refuse)
    async with Channel(served.address, signer=CallSigner(keys / PRIVATE)) as channel:
        with pytest.raises(Unauthenticated, match="it has expired"):
            await ask(Served(served.running, channel), None, *ACME, READ)
    assert next(attempts) == 4


async def test_a_stolen_token_is_of_no_use_elsewhere(served: Served, keys: Path) -> None:
    """At another method, at another service, with another request than the approved one, as another tenant."""
    effect = token_of(keys, Probe.Change.path, *EFFECT, *APPROVED)
    with pytest.raises(Unauthenticated, match="another method"):
        await ask(served, effect)
    with pytest.raises(Unauthenticated, match="another service"):
        await ask(served, token_of(keys, "/graphmesh.billing.v1.BillingService/Ask", *ACME, READ))
    with pytest.raises(ApprovalMismatch):
        await ask(served, effect, rpc=Probe.Change, number=500)
    received = await ask(served, effect, ("x-graphmesh-tenant", "umbrella"), rpc=Probe.Change, number=5)
    assert received["tenant"] == "acme"


@pytest.mark.parametrize(("after", "rule"), [(-5, ""), (-6, "not valid yet"), (64, ""), (65, "expired")])
def test_a_token_is_valid_for_a_minute(keys: Path, monkeypatch: pytest.MonkeyPatch, after: int, rule: str) -> None:
    """Also one that this process has verified before. Clocks may differ by 5 s."""
    verifier, token = CallVerifier(keys / PUBLIC), token_of(keys, Probe.Ask.path, *ACME, READ)
    verifier.claims(Probe.Ask.path, token)
    at = jwt.decode(token, options={"verify_signature": False})["iat"] + after
    monkeypatch.setattr("graphmesh_chassis.call_tokens.time.time", lambda: at)
    if not rule:
        assert verifier.claims(Probe.Ask.path, token)["x-graphmesh-tenant"] == "acme"
        return
    with pytest.raises(Unauthenticated, match=rule):
        verifier.claims(Probe.Ask.path, token)


def claims(**changes: object) -> Mapping[str, object]:
    now = int(time.time())
    whole = {"aud": NAME, "method": Probe.Ask.path, "iat": now, "exp": now + 60}
    whole |= {"tenant": "acme", "sub": "ada", "scope": "probe.read", **changes}
    return {name: value for name, value in whole.items() if value is not None}


def private(keys: Path) -> Any:
    return CallSigner(keys / PRIVATE)._file.content().private


def headers_of(keys: Path) -> dict[str, str]:
    return {"kid": json.loads((keys / PUBLIC).read_text())["keys"][0]["kid"]}


def forged(keys: Path) -> dict[str, str]:
    """Tokens that libraries for JWT were tricked with. Those of the first part differ from a valid one in this only."""
    own, kid = private(keys), headers_of(keys)
    public = (keys / PUBLIC).read_text()
    stranger = ec.generate_private_key(ec.SECP256R1())
    valid = next(token for token in iter(partial(own_token, keys, claims()), "") if {*"-_"} & {*token[-86:]})
    assert CallVerifier(keys / PUBLIC).claims(Probe.Ask.path, valid)
    header, body, signature = valid.split(".")
    other_body = own_token(keys, claims(tenant="umbrella")).split(".")[1]
    jwk = jwk_of(stranger.public_key())
    edwards, ecdsa384 = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())
    return {
        "none without a header's algorithm": f"{header}.{body}.",
        "a stranger under the known kid": signed(keys, json.dumps(claims()), stranger),
        "another body": f"{header}.{other_body}.{signature}",
        "a signature of zeros": f"{header}.{body}.{'A' * 86}",
        "a short signature": f"{header}.{body}.{signature[:-4]}",
        "another form of the signature": f"{header}.{body}.{signature}==",
        "other bits at the end of the signature": f"{header}.{body}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}",
        "another alphabet": f"{header}.{body}.{signature.replace('-', '+').replace('_', '/')}",
        "a character of no alphabet": f"{header}.{body}.{signature}!",
        "four segments": f"{valid}.{signature}",
        "none": jwt.encode(dict(claims()), "", "none", headers=kid),
        "HS256 with the public key": jwt.encode(dict(claims()), public * 2, "HS256", headers=kid),
        "an unknown kid": jwt.encode(dict(claims()), stranger, "ES256", headers={"kid": jwk["kid"]}),
        "a key that the token brings along": jwt.encode(dict(claims()), stranger, "ES256", headers={**kid, "jwk": jwk}),
        "no kid": jwt.encode(dict(claims()), own, "ES256"),
        "EdDSA": jwt.encode(dict(claims()), edwards, "EdDSA", headers=kid),
        "ES384": jwt.encode(dict(claims()), ecdsa384, "ES384", headers=kid),
        "RS256": jwt.encode(dict(claims()), rsa.generate_private_key(65537, 2048), "RS256", headers=kid),
        "no segments": "token",
        "dots": "..",
    }


def test_forged_tokens_are_refused(keys: Path) -> None:
    """And nothing of them is kept: a second attempt is refused as well."""
    verifier = CallVerifier(keys / PUBLIC)
    tokens = forged(keys)
    for name, token in [*tokens.items(), *tokens.items()]:
        with pytest.raises(Unauthenticated, match=r"signed by no key|not valid"):
            pytest.fail(f"{name}: {verifier.claims(Probe.Ask.path, token)}")


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": None},
        {"sub": 7},
        {"scope": ["probe.read"]},
        {"aud": [NAME]},
        {"method": None},
        {"exp": None},
        {"exp": "9999999999"},
        {"iat": True},
        {"epoch": 3},
        {"approval": {}},
    ],
    ids=str,
)
def test_a_claim_of_another_type_is_refused(keys: Path, change: dict[str, object]) -> None:
    token = own_token(keys, claims(**change))
    with pytest.raises(Unauthenticated, match="its form is not valid"):
        CallVerifier(keys / PUBLIC).claims(Probe.Ask.path, token)


@pytest.mark.parametrize("body", ["[]", "7", "{", '{"sub":"ada"', "%s%s", "%s,", "{'sub': 7}", "\\"])
def test_a_body_that_is_no_object_is_refused(keys: Path, body: str) -> None:
    whole = json.dumps(claims())
    with pytest.raises(Unauthenticated, match="its form is not valid"):
        CallVerifier(keys / PUBLIC).claims(Probe.Ask.path, signed(keys, body.replace("%s", whole)))


def test_a_token_for_long_is_refused(keys: Path) -> None:
    now = int(time.time())
    with pytest.raises(Unauthenticated, match="more than 300 s"):
        CallVerifier(keys / PUBLIC).claims(Probe.Ask.path, own_token(keys, claims(iat=now, exp=now + 301)))


def own_token(keys: Path, stated: Mapping[str, object]) -> str:
    """A token of a true key and with its header."""
    return signed(keys, json.dumps(stated))


def signed(keys: Path, content: str, key: Any = None) -> str:
    header = token_of(keys, Probe.Ask.path).partition(".")[0]
    body = encoded(content.encode())
    signature = jwt.get_algorithm_by_name("ES256").sign(f"{header}.{body}".encode(), key or private(keys))
    return f"{header}.{body}.{encoded(signature)}"


def test_services_of_others_verify_it_with_any_library(keys: Path) -> None:
    """The token is a JWT, and the key that it names is in the JWKS under that name."""
    token = token_of(keys, Probe.Ask.path, *ACME, READ, *IN_RUN, ("x-graphmesh-approval", 'a"\\\n'))
    key = jwt.PyJWKSet.from_json((keys / PUBLIC).read_text())[jwt.get_unverified_header(token)["kid"]]
    stated = jwt.decode(token, key, ["ES256"], audience=NAME)
    assert (stated["node"], stated["approval"]) == ("r\u00fcckzahlung", 'a"\\\n')
    assert (stated["tenant"], stated["sub"], stated["scope"], stated["run"]) == ("acme", "ada", "probe.read", "run_1")


def test_equal_calls_share_a_token(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For 20 s; with another epoch, tenant or method it is another one."""
    monkeypatch.setattr("graphmesh_chassis.call_tokens.time.time", lambda: 1_000_000.0)
    signer = CallSigner(keys / PRIVATE)
    first = signer.sign(Probe.Change.path, EFFECT)
    assert signer.sign(Probe.Change.path, EFFECT) == first
    assert signer.sign(Probe.Ask.path, EFFECT) != first
    assert signer.sign(Probe.Change.path, (*EFFECT[:-1], ("x-graphmesh-epoch", "4")))[-1] != first[-1]
    monkeypatch.setattr("graphmesh_chassis.call_tokens.time.time", lambda: 1_000_020.0)
    assert signer.sign(Probe.Change.path, EFFECT)[-1] != first[-1]


async def test_keys_are_replaced_under_load_without_a_failed_call(served: Served, keys: Path) -> None:
    """Three times, while two orchestrators make calls, of which one is slow to read its new key."""
    quick, slow = CallSigner(keys / PRIVATE), CallSigner(keys / PRIVATE)
    calls, stop = {quick: 0, slow: 0}, False

    async def load(signer: CallSigner) -> None:
        async with Channel(served.address, signer=signer) as channel:
            while not stop:
                headers = (*ACME, READ, ("x-graphmesh-run", f"run_{calls[signer]}"))
                await channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60), headers=headers)
                calls[signer] += 1

    async def further_calls() -> None:
        before = dict(calls)
        async with asyncio.timeout(60):
            while not all(calls[signer] >= before[signer] + 20 for signer in calls):
                await asyncio.sleep(0.01)

    loads = [asyncio.create_task(load(signer)) for signer in calls]
    headers = {quick._file.content().header}
    try:
        for _ in range(3):
            replace_call_key(keys)
            headers.add(quick._file.latest().header)
            await further_calls()
            slow._file.latest()
            await further_calls()
    finally:
        stop = True
        await asyncio.gather(*loads)
    assert len(headers) == 4


def test_a_removed_key_is_refused(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a second, also for tokens that were verified before."""
    verifier, stolen = CallVerifier(keys / PUBLIC), token_of(keys, Probe.Ask.path, *ACME, READ)
    verifier.claims(Probe.Ask.path, stolen)
    replace_call_key(keys)
    verifier._file.latest()
    verifier.claims(Probe.Ask.path, stolen)
    replace_call_key(keys)
    clock = time.monotonic() + 1
    monkeypatch.setattr("graphmesh_chassis.reread_file.time.monotonic", lambda: clock)
    with pytest.raises(Unauthenticated, match="signed by no key"):
        verifier.claims(Probe.Ask.path, stolen)


def test_a_broken_file_keeps_the_keys_before_it(keys: Path) -> None:
    """Half of a file, no file; the next whole one is read."""
    verifier, token = CallVerifier(keys / PUBLIC), token_of(keys, Probe.Ask.path, *ACME, READ)
    whole = (keys / PUBLIC).read_bytes()
    for step in (lambda: (keys / PUBLIC).write_bytes(whole[:50]), lambda: (keys / PUBLIC).unlink()):
        step()
        verifier._file.latest()
        assert verifier.claims(Probe.Ask.path, token)
    replace_call_key(keys)
    verifier._file.latest()
    assert verifier.claims(Probe.Ask.path, token_of(keys, Probe.Ask.path, *ACME, READ))
    with pytest.raises(Unauthenticated):
        verifier.claims(Probe.Ask.path, token)


P256 = jwk_of(ec.generate_private_key(ec.SECP256R1()).public_key())


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("{", "is not JSON"),
        ("[]", "a list of 1 to 20 keys"),
        ('{"keys": []}', "a list of 1 to 20 keys"),
        (json.dumps({"keys": [P256] * 21}), "a list of 1 to 20 keys"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}', r"keys\[0\]: must be a key of EC with P-256"),
        (json.dumps({"keys": [P256, {**P256, "d": "AQAB"}]}), r"keys\[1\]: is a private key"),
        (json.dumps({"keys": [{**P256, "x": P256["y"], "y": P256["y"]}]}), r"keys\[0\]: x and y are no point"),
        (json.dumps({"keys": [{**P256, "use": "enc"}]}), r"keys\[0\]: is not for signatures"),
        (json.dumps({"keys": [{**P256, "alg": "HS256"}]}), r"keys\[0\]: is not for signatures"),
    ],
)
def test_bad_keys_are_refused_by_their_place(tmp_path: Path, content: str, rule: str) -> None:
    (tmp_path / PUBLIC).write_text(content)
    with pytest.raises(ValueError, match=rule):
        RereadFile(tmp_path / PUBLIC, verifying_keys)
    with pytest.raises(ValueError, match=rf"(?s)call.keys.*{rule}"):
        ServerSettings(call_keys=tmp_path / PUBLIC)
