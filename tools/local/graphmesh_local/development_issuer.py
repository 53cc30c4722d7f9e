"""An issuer of tokens for one machine: its key is in the state folder, and no one else may read it."""

import asyncio
import getpass
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.identity import Identity, Issuer
from graphmesh_mesh.revoked import SUBJECT, Revoked
from graphmesh_mesh.roles import ALL, Role, Roles
from graphmesh_mesh.topology import Mesh

from graphmesh_local.errors import LocalError
from graphmesh_local.state_folder import Credentials, StateFolder

ISSUER = AUDIENCE = "graphmesh-development"
ALGORITHM = "ES256"
ADMIN = "admin"
"""The role of a developer, where the mesh has it."""
MAY_DO_EVERYTHING = Role(scopes=(ALL,), graphs=(ALL,), tools=(ALL,), approvals=(ALL,))
"""The role `admin` of a mesh without a file of roles, which is then the only one."""
ADVICE = "graphmesh token prints one, for the header authorization: Bearer TOKEN"
"""The end of the message to a caller without a valid token."""
TENANT = "default"
"""The tenant of the stored credentials, and of clients that name none."""
TOKEN_SECONDS = 600.0
"""The life of tokens that clients make for themselves."""
CREDENTIALS_SECONDS = 3600.0
"""The life of the token in them."""
RENEW_SECONDS = 60.0
"""Seconds after which it is renewed: often, since a computer that sleeps does not count."""
SUBJECT_RULE = re.compile(SUBJECT)
MAX_SECONDS = 30 * 24 * 3600.0
"""The longest life of a token."""


class NoIssuer(LocalError):
    """A state folder has no development issuer."""


def with_development_issuer(mesh: Mesh, folder: StateFolder) -> Mesh:
    """Return the mesh with tokens at the edge, of the development issuer and of those that it has.

    Raises:
        MeshError: it has an issuer of the same name, or a file of revoked tokens is broken, or both have too many.
    """
    own = Issuer(issuer=ISSUER, audiences=(AUDIENCE,), jwks_file=open_issuer(folder))
    given, others = mesh.identity or Identity(issuers=(own,)), mesh.identity.issuers if mesh.identity else ()
    if ISSUER in [other.issuer for other in others]:
        raise MeshError(f"identity.issuers: {ISSUER} is the name of the issuer of graphmesh up")
    revoked, advice = _revoked(folder).joined(given.revoked), given.advice or ADVICE
    section = given.model_copy(update={"issuers": (own, *others), "revoked": revoked, "advice": advice})
    roles = mesh.roles or Roles(roles={ADMIN: MAY_DO_EVERYTHING})
    edge = mesh.edge.model_copy(update={"identity": "tokens"})
    return mesh.model_copy(update={"edge": edge, "identity": section, "roles": roles})


def open_issuer(folder: StateFolder) -> Path:
    """Return the file with the public key, which is made with its private one where there is none."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from jwt import get_algorithm_by_name

    if not folder.issuer_key.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        no_password = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
        public = dict[str, Any](get_algorithm_by_name(ALGORITHM).to_jwk(key.public_key(), as_dict=True))
        kept = {name: public[name] for name in ("kty", "crv", "x", "y")}
        _write(folder.issuer_jwks, json.dumps({"keys": [{**kept, "kid": public["x"][:8]}]}).encode())
        _write(folder.issuer_key, pem)
    return folder.issuer_jwks


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its user may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        target.write(content)


def issue_token(folder: StateFolder, tenant: str, subject: str, roles: Sequence[str], seconds: float) -> str:
    """Return a token of the development issuer, valid from now on for so many seconds.

    Raises:
        NoIssuer: no mesh has run from the folder, or another user's has.
    """
    from jwt import encode

    try:
        key, jwks = folder.issuer_key.read_text(), json.loads(folder.issuer_jwks.read_bytes())
    except OSError:
        raise NoIssuer(f"{folder.path} has no issuer of tokens; graphmesh up makes one") from None
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + int(seconds), "sub": subject, "tenant": tenant}
    headers = {"kid": jwks["keys"][0]["kid"]}
    return encode({**claims, "jti": uuid4().hex, "roles": list(roles)}, key, ALGORITHM, headers=headers)


def user_name() -> str:
    """Return the user of this machine as a subject; `local` where it has no name, as in many containers, or none that
    a subject may have."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "local"
    return name if SUBJECT_RULE.fullmatch(name) else "local"


def token_id(token: str) -> str:
    """Return the claim `jti` of a token, which is not verified. Raises ValueError: it is no token with one."""
    from jwt import decode
    from jwt.exceptions import InvalidTokenError

    try:
        found = decode(token, options={"verify_signature": False}).get("jti")
    except InvalidTokenError as error:
        raise ValueError(f"is no token: {error}") from None
    if not isinstance(found, str):
        raise ValueError("has no claim jti")
    return found


def revoke_token(folder: StateFolder, token_id: str) -> None:
    """Let the edge refuse a token, which a mesh that runs from the folder does at once.

    Raises:
        NoIssuer: no mesh has run from the folder, or another user's has.
        MeshError: the file of revoked tokens is broken.
        ValueError: it is no id, or the file is full.
    """
    try:
        with folder.issuer_key.open() as key:
            flock(key, LOCK_EX)
            revoked = _revoked(folder).with_token(token_id)
            folder.write_revoked(yaml.safe_dump(revoked.model_dump(mode="json", exclude_defaults=True)))
    except OSError:
        raise NoIssuer(f"{folder.path} has no issuer of tokens; graphmesh up makes one") from None


def _revoked(folder: StateFolder) -> Revoked:
    """Raises MeshError."""
    return Revoked.read(folder.revoked) if folder.revoked.exists() else Revoked()


def developer_roles(folder: StateFolder) -> list[str]:
    """Return the roles of a developer: admin, or where the file of roles has no such role, all that it has."""
    try:
        roles = json.loads(folder.roles.read_bytes())
    except FileNotFoundError:
        return [ADMIN]
    return [ADMIN] if ADMIN in roles else sorted(roles)


def token_source(
    folder: StateFolder, tenant: str = TENANT, subject: str = "", roles: Sequence[str] = ()
) -> Callable[[], Awaitable[str]]:
    """Return what makes tokens for a client; by default those of a developer, the user of this process."""

    async def issue() -> str:
        return developer_token(folder, tenant, subject, roles)

    return issue


def developer_token(
    folder: StateFolder,
    tenant: str = TENANT,
    subject: str = "",
    roles: Sequence[str] = (),
    seconds: float = TOKEN_SECONDS,
) -> str:
    """Return a token as a `token_source` makes it. Raises as `issue_token`."""
    return issue_token(folder, tenant, subject or user_name(), roles or developer_roles(folder), seconds)


@asynccontextmanager
async def credentials(folder: StateFolder, edge: str) -> AsyncIterator[None]:
    """Keep a token of a developer in the state folder, for clients of the edge, while the body runs."""

    def store() -> None:
        token = issue_token(folder, TENANT, user_name(), developer_roles(folder), CREDENTIALS_SECONDS)
        folder.write_credentials(Credentials(edge=edge, tenant=TENANT, token=token))

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(OSError):  # the disk is full: the stored one is valid for an hour
                store()

    store()
    renewing = asyncio.create_task(renew(), name="credentials")
    try:
        yield
    finally:
        renewing.cancel()
