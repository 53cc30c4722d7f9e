"""The keys of call tokens: ES256, in files that are read again when they change."""

import hashlib
import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

MAX_KEYS = 20
COORDINATE_BYTES = 32

TO_URLS = bytes.maketrans(b"+/", b"-_")
TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
"""Base64 for URLs as Base64; a character that only the latter has becomes one that is in neither."""
PADDING = (b"", b"===", b"==", b"=")
"""By the length of a segment modulo 4, which is never 1."""


@dataclass(frozen=True, eq=False)
class SigningKey:
    """A private key, with the header of the tokens that it signs."""

    private: ec.EllipticCurvePrivateKey
    header: str
    """The first segment of its tokens."""


@dataclass(frozen=True, eq=False)
class VerifyingKeys:
    """Public keys by the header of the tokens that they verify."""

    by_header: Mapping[str, ec.EllipticCurvePublicKey]


def encoded(content: bytes) -> str:
    """Return Base64 for URLs without padding, as in a JWT."""
    return b2a_base64(content, newline=False).translate(TO_URLS, b"=").decode()


def decoded(segment: str) -> bytes:
    """The inverse of `encoded`. Raises ValueError for every other form."""
    padded = segment.encode("ascii").translate(TO_STANDARD) + PADDING[len(segment) % 4]
    content = a2b_base64(padded)
    if b2a_base64(content, newline=False) != padded:
        raise ValueError("is not Base64 for URLs")
    return content


def signing_key(content: bytes) -> SigningKey:
    """Read a private key from PEM. Raises ValueError with the rule that it breaks."""
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError):
        raise ValueError("is no PEM file of a private key without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("must be a key of EC with P-256")
    return SigningKey(key, _header_of(key.public_key()))


def verifying_keys(content: bytes) -> VerifyingKeys:
    """Read public keys from a JWKS (RFC 7517). Raises ValueError with the rule that they break."""
    try:
        parsed = json.loads(content)
    except ValueError:
        raise ValueError("is not JSON") from None
    keys = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS:
        raise ValueError(f"must have a list of 1 to {MAX_KEYS} keys")
    public = [_public_key(key, f"keys[{at}]") for at, key in enumerate(keys)]
    return VerifyingKeys({_header_of(key): key for key in public})


def jwk_of(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """Return a public key as a JWK, whose `kid` is its thumbprint (RFC 7638)."""
    numbers = key.public_numbers()
    x, y = (encoded(number.to_bytes(COORDINATE_BYTES, "big")) for number in (numbers.x, numbers.y))
    members = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    thumbprint = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return {**members, "kid": encoded(thumbprint), "alg": "ES256", "use": "sig"}


def _header_of(key: ec.EllipticCurvePublicKey) -> str:
    header = {"alg": "ES256", "typ": "JWT", "kid": jwk_of(key)["kid"]}
    return encoded(json.dumps(header, separators=(",", ":")).encode())


def _public_key(key: Any, name: str) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, dict) or key.get("kty") != "EC" or key.get("crv") != "P-256":
        raise ValueError(f"{name}: must be a key of EC with P-256")
    if "d" in key:
        raise ValueError(f"{name}: is a private key; the file must have public ones only")
    if key.get("alg", "ES256") != "ES256" or key.get("use", "sig") != "sig":
        raise ValueError(f"{name}: is not for signatures with ES256")
    try:
        x, y = (int.from_bytes(decoded(str(key.get(name))), "big") for name in ("x", "y"))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise ValueError(f"{name}: x and y are no point of P-256") from None
