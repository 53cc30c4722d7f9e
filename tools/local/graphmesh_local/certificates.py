"""An authority for one machine, and the certificates of workloads that it issues."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from graphmesh_contracts.workloads import spiffe_id
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.mutual_tls import AUTHORITIES, certificate_file

AUTHORITY_KEY = "authority-key.pem"
KEPT = 1
"""Authorities that workloads still trust beside a new one: present certificates are of the one before it."""
LIFE = timedelta(days=90)
AUTHORITY_LIFE = timedelta(days=3650)
FOR_CLOCKS_THAT_DIFFER = timedelta(minutes=5)
PEM = serialization.Encoding.PEM


def open_authority(folder: Path) -> None:
    """Make an authority in a folder where there is none."""
    if not (folder / AUTHORITY_KEY).exists():
        add_authority(folder)


def add_authority(folder: Path) -> None:
    """Make a new authority, which issues from now on. The certificates of the one before it stay valid."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"graphmesh {datetime.now(UTC):%Y-%m-%d %H:%M:%S}")])
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
