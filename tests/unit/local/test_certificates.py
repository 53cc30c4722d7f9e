"""The authority of one machine, the certificates that it issues, and which process gets which of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from graphmesh_chassis.certificates import certificate
from graphmesh_cli.app import app
from graphmesh_local.certificates import (
    AUTHORITY_KEY,
    add_authority,
    certified,
    issue_certificates,
    open_authority,
    secured,
    workloads,
)
from graphmesh_local.server_programs import mesh_programs
from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.mutual_tls import AUTHORITIES, MutualTls
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import Mesh, load
from typer.testing import CliRunner


def mesh_with(tls: MutualTls) -> Mesh:
    mesh = load(MESH_FILE)
    return mesh.model_copy(update={"mesh": mesh.mesh.model_copy(update={"tls": tls})})


def numbers(file: Path) -> list[int]:
    return [one.serial_number for one in x509.load_pem_x509_certificates(file.read_bytes())]


def test_only_its_user_reads_the_key_of_the_authority_and_it_stays_the_same(tmp_path: Path) -> None:
    open_authority(tmp_path)
    before = (tmp_path / AUTHORITY_KEY).read_bytes()
    open_authority(tmp_path)
    assert (tmp_path / AUTHORITY_KEY).read_bytes() == before
    files = issue_certificates(tmp_path, "shop.example", ["billing"])
    for file in (tmp_path / AUTHORITY_KEY, *files):
        assert file.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in (tmp_path / AUTHORITIES).read_bytes()


def test_a_new_authority_leaves_the_one_before_it(tmp_path: Path) -> None:
    open_authority(tmp_path)
    [first] = numbers(tmp_path / AUTHORITIES)
    add_authority(tmp_path)
    second = numbers(tmp_path / AUTHORITIES)[0]
    assert numbers(tmp_path / AUTHORITIES) == [second, first]
    add_authority(tmp_path)
    assert numbers(tmp_path / AUTHORITIES)[1:] == [second]
    assert (tmp_path / AUTHORITY_KEY).stat().st_mode & 0o777 == 0o600


def test_a_folder_with_authorities_of_another_issuer_is_left_alone(tmp_path: Path) -> None:
    open_authority(tmp_path)
    (tmp_path / AUTHORITY_KEY).unlink()
    before = (tmp_path / AUTHORITIES).read_bytes()
    for command in ((), ("--new-authority",)):
        refused = CliRunner().invoke(app, ["certificates", str(tmp_path), "--mesh", str(MESH_FILE), *command])
        assert refused.exit_code == 1
        assert "another issuer" in refused.output
    assert [one.name for one in tmp_path.iterdir()] == [AUTHORITIES]
    assert (tmp_path / AUTHORITIES).read_bytes() == before


def test_a_certificate_states_the_workload(tmp_path: Path) -> None:
    open_authority(tmp_path)
    [file] = issue_certificates(tmp_path, "shop.example", ["billing"])
    found = certificate(file.read_bytes())
    assert (found.identity, found.names) == ("spiffe://shop.example/billing", ("billing",))
    issuer, own = (x509.load_pem_x509_certificates(one.read_bytes())[0] for one in (tmp_path / AUTHORITIES, file))
    own.verify_directly_issued_by(issuer)


async def test_each_process_gets_its_own_certificate(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    mesh = secured(load(MESH_FILE), folder.certificates)
    async with certified(mesh, folder.certificates):
        programs = [program for group in mesh_programs(mesh, "", folder, {}, {}) for program in group]
    for program in programs:
        stated = {name: value for name, value in program.env.items() if value.startswith(str(folder.certificates))}
        if program.name == "envoy":
            assert not stated
        else:
            prefix = f"GRAPHMESH_{program.name.upper()}_"
            assert stated == {
                f"{prefix}CERTIFICATE": str(folder.certificates / f"{program.name}.pem"),
                f"{prefix}AUTHORITIES": str(folder.certificates / AUTHORITIES),
            }


def test_a_mesh_is_secured_with_its_own_trust_domain_and_certificates(tmp_path: Path) -> None:
    plain = secured(load(MESH_FILE), tmp_path).mesh
    assert (plain.identity, plain.tls) == ("tokens", MutualTls(certificates=tmp_path))
    named = secured(mesh_with(MutualTls(trust_domain="shop.example")), tmp_path).mesh
    assert named.tls == MutualTls(trust_domain="shop.example", certificates=tmp_path)
    given = MutualTls(certificates=tmp_path / "given")
    assert secured(mesh_with(given), tmp_path).mesh.tls == given


def test_the_command_issues_certificates_and_adds_an_authority(tmp_path: Path) -> None:
    issued = CliRunner().invoke(app, ["certificates", str(tmp_path), "--mesh", str(MESH_FILE)])
    assert issued.exit_code == 0
    assert str(tmp_path / "billing.pem") in issued.output.split()
    first = (tmp_path / "billing.pem").read_bytes()
    added = CliRunner().invoke(app, ["certificates", str(tmp_path), "--mesh", str(MESH_FILE), "--new-authority"])
    assert added.output.split() == [str(tmp_path / AUTHORITIES), str(tmp_path / AUTHORITY_KEY)]
    assert len(numbers(tmp_path / AUTHORITIES)) == 2
    assert (tmp_path / "billing.pem").read_bytes() == first
    (tmp_path / AUTHORITIES).write_bytes(first)
    refused = CliRunner().invoke(app, ["certificates", str(tmp_path), "--mesh", str(MESH_FILE)])
    assert refused.exit_code == 1
    assert "is the key of no certificate" in refused.output


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "none": (lambda folder: (folder / "crm.pem").unlink(), r"crm\.pem: No such file"),
    "another": (
        lambda folder: (folder / "crm.pem").write_bytes((folder / "billing.pem").read_bytes()),
        r"crm\.pem is of spiffe://shop\.example/billing, and must be of spiffe://shop\.example/crm",
    ),
    "trust domain": (
        lambda folder: issue_certificates(folder, "other.example", ["crm"]),
        r"must be of spiffe://shop\.example/crm",
    ),
    "authorities": (lambda folder: (folder / AUTHORITIES).write_text("none"), r"authorities\.pem has no certificates"),
    "prober": (lambda folder: (folder / "prober.pem").write_text("x"), r"prober\.pem must have one private key"),
}


@pytest.mark.parametrize("change", BROKEN)
async def test_given_files_that_cannot_be_used_are_refused_by_name(tmp_path: Path, change: str) -> None:
    mesh = mesh_with(MutualTls(trust_domain="shop.example", certificates=tmp_path))
    open_authority(tmp_path)
    issue_certificates(tmp_path, "shop.example", workloads(mesh))
    async with certified(mesh, tmp_path / "own"):
        assert not (tmp_path / "own").exists()
    make, problem = BROKEN[change]
    make(tmp_path)
    with pytest.raises(MeshError, match=f"mesh.tls.certificates: .*{problem}"):
        async with certified(mesh, tmp_path / "own"):
            pass
