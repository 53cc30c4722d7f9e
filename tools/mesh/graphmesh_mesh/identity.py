"""The section `identity` of mesh.yaml: who issues tokens, their keys, and their claims."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from graphmesh_mesh.revoked import Revoked, RevokedFile
from graphmesh_mesh.tls import is_ip_address

ALGORITHMS = {("RSA", ""): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""The algorithm of each kind of key, by type and curve. No other token is accepted, whatever its header says."""
PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The members of a public key. A key of another use, or with a private part, is refused and never rendered."""
MAX_BYTES, MAX_KEYS = 1024 * 1024, 100
"""The bounds of a file with keys."""
MIN_RSA_BITS = 2048
COORDINATE_BYTES = 32
"""The length of a coordinate on P-256 and Ed25519."""
PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
CONSTANT = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
"""The parameters of P-256, whose points have y² = x³ - 3x + CONSTANT modulo PRIME."""
LOOPBACK = ("127.0.0.1", "::1")

Claim = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:/.-]{1,200}$")]
Text = Annotated[str, Field(pattern=r"^[!-~]{1,500}$")]
Advice = Annotated[str, Field(pattern=r"^[ -$&-~]{0,200}$")]
"""Printable ASCII without %, which Envoy expands."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Claims(Model):
    """The claims of a token by what they are; a dot goes into an object, unless a claim has the whole name."""

    tenant: Claim = "tenant"
    subject: Claim = "sub"
    roles: Claim = "roles"
    """A list, or a text of names with spaces between them."""
    client: Claim = "azp"
    """The program that the token was issued to. It is logged, where a token has it, and has a rate of its own."""


class Issuer(Model):
    """An issuer of tokens."""

    issuer: Text
    """The claim `iss`."""
    audiences: Annotated[tuple[Text, ...], Field(min_length=1, max_length=20)]
    """A token needs one of them as its claim `aud`."""
    jwks_file: Path | None = None
    """The file with its public keys (RFC 7517)."""
    jwks_url: str = ""
    """The HTTPS URL of its public keys, which Envoy reads every five minutes."""
    ca: Path | None = None
    """PEM certificates that the server of `jwks_url` is trusted by; the default is those of the system."""
    claims: Claims = Claims()

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        if (self.jwks_file is None) == (not self.jwks_url):
            raise ValueError("it needs either jwks_file or jwks_url")
        if self.ca and not self.jwks_url:
            raise ValueError("ca: only with jwks_url")
        if self.jwks_url:
            _check_url(self.jwks_url)
        else:
            _ = self.jwks
        return self

    @property
    def jwks_target(self) -> tuple[str, int] | None:
        """The host and the port of `jwks_url`."""
        if not self.jwks_url:
            return None
        url = urlsplit(self.jwks_url)
        return str(url.hostname), url.port or (443 if url.scheme == "https" else 80)

    @cached_property
    def jwks(self) -> str:
        """The keys of the file as JSON, each with its one algorithm; empty for those of a URL."""
        if self.jwks_file is None:
            return ""
        name = f"jwks_file: {self.jwks_file}"
        try:
            if (size := self.jwks_file.stat().st_size) > MAX_BYTES:
                raise ValueError(f"{name} has {size:,} bytes, and may have {MAX_BYTES:,}")
            text = self.jwks_file.read_bytes()
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror}") from None
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"{name} is not JSON") from None
        keys = content.get("keys") if isinstance(content, dict) else None
        if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS:
            raise ValueError(f"{name} has no list of 1 to {MAX_KEYS} keys")
        return json.dumps({"keys": [_public_key(key, number) for number, key in enumerate(keys)]})


class Identity(Model):
    """Who may call the edge."""

    issuers: Annotated[tuple[Issuer, ...], Field(min_length=1, max_length=20)]
    revoked: RevokedFile = Revoked()
    """Tokens, subjects and tenants that are refused before their tokens expire."""
    advice: Advice = ""
    """The way to get a token: the end of the message to one without a valid token."""

    @model_validator(mode="after")
    def _issuers_are_unique(self) -> Self:
        names = [one.issuer for one in self.issuers]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"issuers: {repeated[0]} is there twice")
        return self


def _public_key(key: Any, number: int) -> dict[str, str]:
    """Return a key with the members of a public one and its algorithm. Raises ValueError with the rule it breaks."""
    name = f"jwks_file: keys[{number}]"
    if not isinstance(key, dict):
        raise ValueError(f"{name}: is no object")
    kind = key.get("kty")
    algorithm = ALGORITHMS.get((str(kind), "" if kind == "RSA" else str(key.get("crv"))))
    if algorithm is None:
        raise ValueError(f"{name}: must be of RSA, EC with P-256, or OKP with Ed25519")
    if "d" in key:
        raise ValueError(f"{name}: is a private key; the file must have public ones only")
    if key.get("alg", algorithm) != algorithm:
        raise ValueError(f"{name}: its algorithm must be {algorithm}")
    if key.get("use", "sig") != "sig":
        raise ValueError(f"{name}: is not for signatures")
    members = {member: str(key.get(member) or "") for member in PUBLIC[str(kind)]}
    if lacking := [member for member, value in members.items() if not value]:
        raise ValueError(f"{name}: lacks {', '.join(lacking)}")
    if not isinstance(key.get("kid", ""), str):
        raise ValueError(f"{name}: its kid is no text")
    if rule := _broken_rule({member: _decoded(value) for member, value in members.items() if member != "crv"}):
        raise ValueError(f"{name}: {rule}")
    named = {"kid": key["kid"]} if "kid" in key else {}
    return {"kty": str(kind), "alg": algorithm, "use": "sig", **named, **members}


def _decoded(text: str) -> bytes:
    """Return the content of a member; empty where it is not Base64 for URLs, in its one form."""
    try:
        content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
    return content if urlsafe_b64encode(content).decode().rstrip("=") == text else b""


def _broken_rule(members: dict[str, bytes]) -> str:
    """Return the rule that the numbers of a key break; empty for none. Envoy ignores a key that it cannot read."""
    if broken := [name for name, value in members.items() if not value]:
        return f"{', '.join(broken)}: is not Base64 for URLs without padding"
    numbers = {name: int.from_bytes(value, "big") for name, value in members.items()}
    if "n" in numbers:
        if numbers["n"].bit_length() < MIN_RSA_BITS:
            return f"n: has {numbers['n'].bit_length()} bits, and needs {MIN_RSA_BITS}"
        return "" if numbers["e"] > 1 and numbers["e"] % 2 else "e: is no exponent of RSA"
    if any(len(value) != COORDINATE_BYTES for value in members.values()):
        return f"{', '.join(members)}: must be of {COORDINATE_BYTES} bytes"
    return "x, y: are no point of P-256" if "y" in numbers and not _is_point(numbers["x"], numbers["y"]) else ""


def _is_point(x: int, y: int) -> bool:
    return max(x, y) < PRIME and (y**2 - x**3 + 3 * x - CONSTANT) % PRIME == 0


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("jwks_url: is not a URL") from None
    is_local = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or port == 0 or (parts.scheme != "https" and not is_local):
        raise ValueError("jwks_url: must be an HTTPS URL")
    if parts.scheme == "https" and is_ip_address(parts.hostname) and parts.hostname not in LOOPBACK:
        raise ValueError("jwks_url: must name its host, whose certificate is checked")
