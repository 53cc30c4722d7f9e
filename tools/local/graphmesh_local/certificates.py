"""An authority for one machine, and the certificates of workloads that it issues."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from graphmesh_chassis.certificates import authorities, certificate
from graphmesh_contracts.workloads import WORKLOADS, spiffe_id
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.mutual_tls import AUTHORITIES, MutualTls, certificate_file
from graphmesh_mesh.topology import Mesh

AUTHORITY_KEY = "authority-key.pem"
KEPT = 1
"""Authorities that workloads still trust beside a new one: present certificates are of the one before it."""
LIFE = timedelta(days=90)
AUTHORITY_LIFE = timedelta(days=3650)
RENEW_SECONDS = 24 * 3600.0
"""Seconds after which the certificates of a running mesh are issued again."""
FOR_CLOCKS_THAT_DIFFER = timedelta(days=1)
PEM = serialization.Encoding.PEM

ContentT = TypeVar("ContentT")


def open_authority(folder: Path) -> None:
    """Make an authority in a folder where there is none. Raises as `add_authority`."""
    if not (folder / AUTHORITY_KEY).exists():
        add_authority(folder)


def add_authority(folder: Path) -> None:
    """Make a new authority, which issues from now on. The certificates of the one before it stay valid.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the folder has authorities of another issuer, or that cannot be read.
    """
    if (folder / AUTHORITIES).exists() and not (folder / AUTHORITY_KEY).exists():
        raise ValueError(f"{AUTHORITIES} is of another issuer: the folder does not have its {AUTHORITY_KEY}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    # Of two authorities with one name, programs would find the issuer of a certificate in the first only.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"graphmesh {token_hex(8)}")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(name, name, key, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / AUTHORITIES
    known = x509.load_pem_x509_certificates(file.read_bytes()) if file.exists() else []
    bundle = b"".join(one.public_bytes(PEM) for one in (certificate, *known[:KEPT]))
    write(folder, {AUTHORITIES: bundle})
    write(folder, {AUTHORITY_KEY: _private(key)}, mode=0o600)


def issue_certificates(folder: Path, trust_domain: str, workloads: Iterable[str]) -> list[Path]:
    """Issue a new certificate for each workload, and return their files. Each has the private key too.

    Raises:
        OSError: the folder has no authority.
        ValueError: its files are broken.
    """
    key = serialization.load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), None)
    known = x509.load_pem_x509_certificates((folder / AUTHORITIES).read_bytes())
    issuer = next((one for one in known if one.public_key() == key.public_key()), None)
    if issuer is None or not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{AUTHORITY_KEY} is the key of no certificate in {AUTHORITIES}")
    issued = {certificate_file(one): _issued(issuer, key, trust_domain, one) for one in workloads}
    return [folder / name for name in write(folder, issued, mode=0o600)]


def secured(mesh: Mesh, folder: Path) -> Mesh:
    """Return the mesh with tokens of calls and mutual TLS, its certificates in `folder` unless it names another one."""
    tls = mesh.mesh.tls or MutualTls()
    if tls.certificates is None:
        tls = tls.model_copy(update={"certificates": folder})
    listener = mesh.mesh.model_copy(update={"identity": "tokens", "tls": tls})
    return mesh.model_copy(update={"mesh": listener})


def mutual_tls(mesh: Mesh) -> MutualTls:
    """Return the mutual TLS of a `secured` mesh."""
    assert mesh.mesh.tls, "not secured"
    return mesh.mesh.tls


@asynccontextmanager
async def certified(mesh: Mesh, own_folder: Path) -> AsyncIterator[None]:
    """Issue the certificates of a `secured` mesh while the body runs, where they are in `own_folder`.

    Raises:
        MeshError: a certificate is missing or cannot be used.
    """
    tls, renewing = mutual_tls(mesh), None
    if tls.folder == own_folder:
        _issue(mesh, tls)
        renewing = asyncio.create_task(_renew(mesh, tls), name="certificates")
    try:
        _check(mesh, tls)
        yield
    finally:
        if renewing:
            renewing.cancel()


async def _renew(mesh: Mesh, tls: MutualTls) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with suppress(OSError):  # the disk is full: the present ones are valid for months
            _issue(mesh, tls)


def _issue(mesh: Mesh, tls: MutualTls) -> None:
    try:
        open_authority(tls.folder)
        issue_certificates(tls.folder, tls.trust_domain, workloads(mesh))
    except ValueError as error:
        raise MeshError(f"{tls.folder}: {error}") from error


def workloads(mesh: Mesh) -> list[str]:
    """Return the names of all workloads of a mesh."""
    return [*WORKLOADS, *mesh.services]


def _check(mesh: Mesh, tls: MutualTls) -> None:
    """Check the files of the workloads on this machine. Raises MeshError."""
    own = [name for name, service in mesh.services.items() if not service.external]
    _read(tls.authorities, authorities)
    for workload in (*WORKLOADS, *own):
        file, identity = tls.certificate(workload), spiffe_id(tls.trust_domain, workload)
        found = _read(file, certificate)
        if found.identity != identity:
            raise MeshError(f"mesh.tls.certificates: {file} is of {found.identity}, and must be of {identity}")
        if workload not in found.names:
            raise MeshError(f"mesh.tls.certificates: {file} lacks the DNS name {workload}, by which clients know it")


def _read(file: Path, parse: Callable[[bytes], ContentT]) -> ContentT:
    try:
        return parse(file.read_bytes())
    except OSError as error:
        raise MeshError(f"mesh.tls.certificates: {file}: {error.strerror}") from error
    except ValueError as error:
        raise MeshError(f"mesh.tls.certificates: {file} {error}") from error


def _issued(
    issuer: x509.Certificate, issuer_key: ec.EllipticCurvePrivateKey, trust_domain: str, workload: str
) -> bytes:
    """Return a new certificate with its key.

    The identity is the URI. gRPC's library, which compares no URIs, recognizes a server by the DNS name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, workload)])
    names = [x509.UniformResourceIdentifier(spiffe_id(trust_domain, workload)), x509.DNSName(workload)]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(subject, issuer.subject, key, LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _private(key) + certificate.public_bytes(PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        now - FOR_CLOCKS_THAT_DIFFER,
        now + life,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
