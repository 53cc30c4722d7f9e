"""Tokens of calls: what an orchestrator states about a call, signed (JWT, ES256), for one method and for a minute.

The signer is where calls leave; a hook of the server verifies. Signing and verification have a budget of 0.15 ms a call
together, hence no library of tokens: the first segment has to be, byte for byte, the one that a key of the file signs
under. There is no other algorithm, no key that a token brings along, and no header to interpret.
"""

import json
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from graphmesh_chassis import metadata
from graphmesh_chassis.call_keys import (
    COORDINATE_BYTES,
    SigningKey,
    VerifyingKeys,
    decoded,
    encoded,
    signing_key,
    verifying_keys,
)
from graphmesh_chassis.channel import Headers
from graphmesh_chassis.errors import GraphmeshError, Unauthenticated
from graphmesh_chassis.reread_file import RereadFile

REQUIRED = {metadata.TENANT, metadata.SUBJECT, metadata.SCOPES}
"""The headers that every token has to state."""

LIFE_SECONDS = 60
WINDOW_SECONDS = 20
"""Equal calls share a token that was made in the same window, so that it is valid for 40 s at least."""
LEEWAY_SECONDS = 5
"""For clocks that differ."""
MAX_LIFE_SECONDS = 300
CACHED = 1024
"""Tokens that a process keeps, of those that it signed and of those that it verified."""
CLOCK = "time"
"""The key of an error with the time of the service, in seconds."""
SECONDS = re.compile(r"[0-9]{1,12}")
ES256 = ec.ECDSA(hashes.SHA256())
HEADERS = {claim: header for header, claim in metadata.CLAIMS.items()}
NAMES = {header: f'"{claim}":' for header, claim in metadata.CLAIMS.items()}
"""The claims by their headers, as JSON has them."""
QUOTED = json.JSONEncoder().encode
DECODE = json.JSONDecoder().raw_decode
"""Between calls every function costs several times what it costs in a loop, hence the shortest way through `json`."""


class Claims(NamedTuple):
    """What a token states."""

    service: str
    method: str
    """The path of the method."""
    issued: int
    expires: int
    headers: Mapping[str, str]


class CallSigner:
    """Adds tokens to calls.

    Raises:
        OSError: the file with the private key cannot be read.
        ValueError: it is no PEM file of a P-256 key.
    """

    def __init__(self, file: Path) -> None:
        self._file = RereadFile(file, signing_key)
        self._ahead: dict[str, int] = {}
        """Seconds by which the clocks of services are ahead of this one, where that matters."""

    def sign(self, path: str, headers: Headers) -> Headers:
        """Return the headers of a call of the method `path`, with a token of what they state."""
        stated = tuple(pair for pair in headers if pair[0] in metadata.CLAIMS)
        now = int(time.time()) + self._ahead.get(_service_of(path), 0)
        token = _signed(self._file.content(), path, stated, now // WINDOW_SECONDS)
        return (*headers, (metadata.CALL_TOKEN, token))

    def follow_clock(self, path: str, refusal: GraphmeshError) -> bool:
        """Sign for a service by its clock from now on, where it has refused a token for the time.

        Only that service accepts such a token, so it decides about itself alone. Returns whether a further token has
        another time.
        """
        stated = refusal.data.get(CLOCK, "")
        if not isinstance(refusal, Unauthenticated) or not SECONDS.fullmatch(stated):
            return False
        service, ahead = _service_of(path), int(stated) - int(time.time())
        if abs(ahead - self._ahead.get(service, 0)) <= LEEWAY_SECONDS:
            return False
        self._ahead[service] = ahead
        return True


@lru_cache(CACHED)
def _signed(key: SigningKey, path: str, stated: Headers, window: int) -> str:
    claims = _json(path, stated, window * WINDOW_SECONDS)
    content = f"{key.header}.{encoded(claims.encode())}"
    numbers = decode_dss_signature(key.private.sign(content.encode(), ES256))
    return f"{content}.{encoded(b''.join(number.to_bytes(COORDINATE_BYTES, 'big') for number in numbers))}"


def _json(path: str, stated: Headers, issued: int) -> str:
    claims = "".join([f"{NAMES[name]}{QUOTED(value)}," for name, value in dict(stated).items()])
    method = f'"aud":{QUOTED(_service_of(path))},"method":{QUOTED(path)}'
    return f'{{{claims}{method},"iat":{issued},"exp":{issued + LIFE_SECONDS}}}'


def _service_of(path: str) -> str:
    return path[1:].partition("/")[0]


class CallVerifier:
    """Verifies the tokens of calls.

    Raises:
        OSError: the file with the public keys cannot be read.
        ValueError: it is no JWKS of P-256 keys.
    """

    def __init__(self, file: Path) -> None:
        self._file = RereadFile(file, verifying_keys)

    def claims(self, path: str, token: str) -> Mapping[str, str]:
        """Return what the token of a call of the method `path` states, as headers.

        Raises:
            Unauthenticated: with the rule that the token breaks.
        """
        if not token:
            raise _refusal("it is missing")
        keys = self._file.content()
        if token.partition(".")[0] not in keys.by_header:
            keys = self._file.latest()
        claims = _verified(keys, token)
        _check_time(claims, time.time())
        if claims.service != _service_of(path):
            raise _refusal("it is for another service")
        if claims.method != path:
            raise _refusal("it is for another method")
        return claims.headers


@lru_cache(CACHED)
def _verified(keys: VerifyingKeys, token: str) -> Claims:
    """Return the claims of a token with a valid signature. What raises is not cached."""
    content, _, signature = token.rpartition(".")
    header, _, body = content.partition(".")
    key = keys.by_header.get(header)
    if key is None:
        raise _refusal("it is signed by no key of the orchestrators, or not by ES256")
    try:
        key.verify(_der(decoded(signature)), content.encode(), ES256)
        return _claims(decoded(body).decode())
    except (InvalidSignature, ValueError):
        raise _refusal("its signature or its form is not valid") from None


def _der(signature: bytes) -> bytes:
    """Return a signature of a JWT, which is two numbers of equal length, in the form of the library."""
    if len(signature) != 2 * COORDINATE_BYTES:
        raise ValueError("is no signature of ES256")
    r, s = signature[:COORDINATE_BYTES], signature[COORDINATE_BYTES:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _claims(body: str) -> Claims:
    """Read the claims of a token. Raises ValueError where one is missing or has another type."""
    content, end = DECODE(body)
    if end != len(body) or not isinstance(content, dict):
        raise ValueError("is no object")
    headers = {HEADERS[claim]: value for claim, value in content.items() if claim in HEADERS}
    get: Any = content.get
    service, method, issued, expires = get("aud"), get("method"), get("iat"), get("exp")
    if not headers.keys() >= REQUIRED or {*map(type, headers.values()), type(service), type(method)} != {str}:
        raise ValueError("a claim is missing, or is no text")
    if type(issued) is not int or type(expires) is not int:
        raise ValueError("a time is missing, or is no number")
    return Claims(service, method, issued, expires, headers)


def _check_time(claims: Claims, now: float) -> None:
    if claims.expires + LEEWAY_SECONDS <= now:
        raise _refusal("it has expired", **{CLOCK: int(now)})
    if claims.issued - LEEWAY_SECONDS > now:
        raise _refusal("it is not valid yet", **{CLOCK: int(now)})
    if claims.expires - claims.issued > MAX_LIFE_SECONDS:
        raise _refusal(f"it is valid for more than {MAX_LIFE_SECONDS} s")


def _refusal(rule: str, **data: Any) -> Unauthenticated:
    return Unauthenticated(f"The token of the call is refused: {rule}", **data)
