"""The section `identity` of mesh.yaml: who issues tokens, their keys, and their claims."""

import json
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
LOOPBACK = ("127.0.0.1", "::1")

Claim = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:/.-]{1,200}$")]
Text = Annotated[str, Field(pattern=r"^[!-~]{1,500}$")]


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
        try:
            content = json.loads(self.jwks_file.read_bytes())
        except OSError as error:
            raise ValueError(f"jwks_file: {self.jwks_file}: {error.strerror}") from None
        except ValueError:
            raise ValueError(f"jwks_file: {self.jwks_file} is not JSON") from None
        keys = content.get("keys") if isinstance(content, dict) else None
        if not isinstance(keys, list) or not keys:
            raise ValueError(f"jwks_file: {self.jwks_file} has no list of keys")
        return json.dumps({"keys": [_public_key(key, number) for number, key in enumerate(keys)]})


class Identity(Model):
    """Who may call the edge."""

    issuers: Annotated[tuple[Issuer, ...], Field(min_length=1, max_length=20)]
    revoked: RevokedFile = Revoked()
    """What is refused before its tokens expire."""

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
    named = {"kid": str(key["kid"])} if "kid" in key else {}
    return {"kty": str(kind), "alg": algorithm, "use": "sig", **named, **members}


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
