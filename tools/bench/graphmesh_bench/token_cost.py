"""The CPU of tokens of calls themselves: to sign and to verify one, without the call."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from graphmesh_chassis import metadata
from graphmesh_chassis.call_tokens import CallSigner, CallVerifier
from graphmesh_chassis.channel import Headers

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")

PATH = "/graphmesh.billing.v1.BillingService/Charge"
TOKENS = 500
ROUNDS = 9
"""The best one counts: what else the machine does only adds to the others."""


@dataclass(frozen=True)
class TokenCost:
    """Milliseconds of CPU a call."""

    signed: float
    verified: float
    known: float
    """Of a token that both sides have in their caches, on both together."""

    def __str__(self) -> str:
        fresh = f"{self.signed:.3f} ms to sign, {self.verified:.3f} ms to verify"
        return f"a token itself: {fresh}, {self.signed + self.verified:.3f} ms CPU; a known one {self.known:.4f} ms"


def token_cost(private: Path, public: Path) -> TokenCost:
    """Measure tokens of the calls of an effect, each with a key of its own, as no call shares them."""
    signer, verifier = CallSigner(private), CallVerifier(public)

    def sign(call: Headers) -> str:
        return signer.sign(PATH, call)[-1][1]

    def verify(token: str) -> None:
        verifier.claims(PATH, token)

    signed, verified, known = list[float](), list[float](), list[float]()
    for number in range(ROUNDS):
        calls = [_headers(number * TOKENS + call) for call in range(TOKENS)]
        cost, tokens = _measured(sign, calls)
        signed.append(cost)
        verified.append(_measured(verify, tokens)[0])
        known.append(_measured(sign, calls[-1:] * TOKENS)[0] + _measured(verify, tokens[-1:] * TOKENS)[0])
    return TokenCost(min(signed), min(verified), min(known))


def _headers(number: int) -> Headers:
    return (
        (metadata.TENANT, "acme"),
        (metadata.SUBJECT, "mira"),
        (metadata.SCOPES, "billing.write"),
        (metadata.RUN, f"run_{number:032x}"),
        (metadata.THREAD, f"th_{number:032x}"),
        (metadata.NODE, "charge"),
        (metadata.IDEMPOTENCY_KEY, f"{number:064x}"),
        (metadata.EPOCH, "1"),
    )


def _measured(act: Callable[[ArgumentT], ResultT], arguments: Sequence[ArgumentT]) -> tuple[float, list[ResultT]]:
    """Return the milliseconds of CPU for each argument, and the results."""
    began = time.process_time()
    results = [act(argument) for argument in arguments]
    return (time.process_time() - began) / len(arguments) * 1000, results
