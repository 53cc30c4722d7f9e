"""`graphmesh protos` in a repository of another team: its protos only, no clone of graphmesh."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from graphmesh_cli.app import app
from typer.testing import CliRunner

FILE = "acme/orders/v1/orders.proto"
PROTO = """// Orders.
syntax = "proto3";

package acme.orders.v1;

import "buf/validate/validate.proto";
import "google/protobuf/empty.proto";
import "graphmesh/common/v1/money.proto";
import "graphmesh/policy/v1/policy.proto";

// Stores orders.
service OrdersService {
  option (graphmesh.policy.v1.service) = {
    max_concurrency: 4
    max_queue: 16
    breaker: {consecutive_failures: 5, cooling_period: {seconds: 2}, max_cooling_period: {seconds: 30}}
  };

  // Reads an order.
  rpc GetOrder(GetOrderRequest) returns (GetOrderResponse) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (graphmesh.policy.v1.method) = {timeout: {seconds: 2}, max_attempts: 3, scopes: ["orders.read"]};
  }
}

// Request of GetOrder.
message GetOrderRequest {
  // The id.
  string order_id = 1 [(buf.validate.field).string.max_len = 64];
}

// Response of GetOrder.
message GetOrderResponse {
  // What it costs.
  graphmesh.common.v1.Money price = 1;
}
"""


@pytest.fixture
def protos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only proto of the team, in a new folder that is the working directory."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "protos" / FILE
    file.parent.mkdir(parents=True)
    file.write_text(PROTO)
    return file


def run(*words: str) -> tuple[int, str]:
    """Return the exit code and all output of a command."""
    result = CliRunner().invoke(app, ["protos", *words])
    return result.exit_code, result.output


def change(file: Path, old: str, new: str) -> None:
    """Replace a text of a proto."""
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def imported(expression: str) -> str:
    """Evaluate an expression over the generated package in a new process."""
    program = f"import acme.orders.v1 as v1; from graphmesh_contracts import comments; print({expression})"
    command = [sys.executable, "-B", "-c", program]
    ended = subprocess.run(command, env={"PYTHONPATH": "gen"}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.usefixtures("protos")
def test_generates_a_typed_package_of_the_teams_own_name() -> None:
    assert run("generate") == (0, "gen: acme.orders.v1\n")
    assert imported("v1.OrdersService.GetOrder.tool") == "orders.GetOrder"
    assert imported("comments('acme.orders.v1')['acme.orders.v1.OrdersService.GetOrder']") == "Reads an order."
    assert {path.name for path in Path("gen").rglob("*.py*")} == {
        "__init__.py",
        "orders_pb2.py",
        "orders_pb2.pyi",
        "orders_pb2_grpc.py",
        "orders_pb2_grpc.pyi",
    }
    assert run("generate", "--json") == (0, '{"folder": "gen", "packages": ["acme.orders.v1"]}\n')


def test_messages_of_other_packages_are_imported(protos: Path) -> None:
    change(protos, "(GetOrderRequest) returns (GetOrderResponse)", "(google.protobuf.Empty) returns (GetOrderResponse)")
    assert run("generate")[0] == 0
    assert imported("v1.OrdersService.GetOrder.request.DESCRIPTOR.full_name") == "google.protobuf.Empty"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("string order_id", "strong order_id", '"strong" is not defined'),
        ('import "graphmesh/common', 'import "graphmesh/comon', "File not found"),
        ("package acme.orders.v1;", "package orders.v1;", "the package orders.v1 must be in orders/v1"),
        ("NO_SIDE_EFFECTS", "IDEMPOTENT", "is an effect and streams"),
        ("rpc GetOrder(", "rpc class(", "OrdersService.class: class is a keyword of Python"),
        ("rpc GetOrder(", "rpc NAME(", "OrdersService.NAME: NAME is the name of the service"),
        ("GetOrderRequest", "None", ": None is a keyword of Python"),
        ("GetOrderRequest", "Rpc", ": Rpc is a name of the generated package"),
        ("package acme.orders.v1;", "", ":1: it declares no package"),
        ("string order_id = 1", "string order_id =", "Expected field number"),
        ('import "graphmesh/policy/v1/policy.proto";', "", 'Option "(graphmesh.policy.v1.method)" unknown'),
    ],
)
def test_a_proto_that_cannot_be_used_is_named_with_its_line(protos: Path, old: str, new: str, message: str) -> None:
    """The package that was generated before remains."""
    run("generate")
    before = {path: path.read_bytes() for path in Path("gen").rglob("*") if path.is_file()}
    change(protos, "returns (GetOrderResponse)", "returns (stream GetOrderResponse)")
    change(protos, old, new)
    for words in (["lint"], ["generate"]):
        code, output = run(*words)
        assert code == 1
        assert message in output
        assert f"protos/{FILE}:" in output
        assert "Traceback" not in output
    assert {path: path.read_bytes() for path in Path("gen").rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("protos")
@pytest.mark.parametrize("name", ["gen/notes.txt", "gen/acme/orders/v1/convert.py", "gen/acme/__init__.py"])
def test_a_folder_with_files_of_a_person_is_not_replaced(name: str) -> None:
    run("generate")
    Path(name).write_text("mine = 1\n")
    code, output = run("generate")
    assert (code, Path(name).read_text()) == (1, "mine = 1\n")
    assert f"{name} was not generated" in output


@pytest.mark.usefixtures("protos")
def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    assert run("generate", "--out", "notes") == (1, "notes is a file, and not a folder to replace\n")
    assert (tmp_path / "notes").read_text() == "mine"


def test_files_that_are_no_protos_are_named(protos: Path) -> None:
    """Without lines of the log of the compiler; a folder with such a name is none."""
    (protos.parent / "folder.proto").mkdir()
    (protos.parent / "binary.proto").write_bytes(b"\xff\xfe")
    (protos.parent / "my orders.proto").write_text(PROTO.replace("Order", "Other"))
    code, output = run("lint")
    assert code == 1
    assert all(line.startswith(f"protos/{Path(FILE).parent}/") for line in output.splitlines()), output
    (protos.parent / "binary.proto").unlink()
    assert "my orders.proto:1: the name of a file has letters, digits and underscores" in run("lint")[1]


def test_narrower_rules_of_requests_are_breaking_changes(protos: Path) -> None:
    assert run("descriptors", "before.binpb")[0] == 0
    change(protos, "max_len = 64", "max_len = 63")
    [line] = [1 + at for at, line in enumerate(protos.read_text().splitlines()) if "order_id" in line]
    field = "acme.orders.v1.GetOrderRequest.order_id"
    assert run("breaking", "--against", "before.binpb") == (
        1,
        f"protos/{FILE}:{line}: {field}: string.max_len is 63 in place of 64\n",
    )


def test_lint_names_file_line_and_field_of_each_finding(protos: Path) -> None:
    assert run("lint") == (0, "protos: no findings\n")
    change(protos, "  // Reads an order.\n", "")
    change(protos, " [(buf.validate.field).string.max_len = 64]", "")
    change(protos, "timeout: {seconds: 2}, ", "")
    change(protos, ', scopes: ["orders.read"]', "")
    change(protos, "    option idempotency_level = NO_SIDE_EFFECTS;\n", "")
    lines = protos.read_text().splitlines()
    method, field = (1 + next(i for i, line in enumerate(lines) if text in line) for text in ("rpc Get", "order_id"))
    code, output = run("lint")
    assert code == 1
    assert f"protos/{FILE}:{field}: acme.orders.v1.GetOrderRequest.order_id has no bound" in output
    assert f"protos/{FILE}:{method}: policy of acme.orders.v1.OrdersService.GetOrder: timeout: value is req" in output
    for lack in ("scopes", "idempotency_level"):
        assert f"protos/{FILE}:{method}: acme.orders.v1.OrdersService.GetOrder has no {lack}: " in output
    assert f'protos/{FILE}:{method}:3:RPC "GetOrder" should have a non-empty comment' in output


def test_breaking_compares_with_a_descriptor_set_or_a_ref_of_git(protos: Path) -> None:
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "empty"], ["add", "."]):
        subprocess.run([*git, *words], check=True)
    assert run("breaking", "--against", "HEAD") == (0, "protos: HEAD has no protos to compare with\n")
    subprocess.run([*git, "commit", "-q", "-m", "protos"], check=True)
    assert run("descriptors", "orders.binpb")[0] == 0
    assert run("breaking", "--against", "HEAD")[0] == 0
    change(protos, "string order_id = 1", "string order_id = 2")
    for against in ("HEAD", "orders.binpb"):
        code, output = run("breaking", "--against", against)
        assert (code, 'Previously present field "1"' in output) == (1, True), output
        assert output.startswith(f"protos/{FILE}:")
    code, output = run("breaking", "--against", "nowhere")
    assert (code, "nowhere is neither a file nor a ref of git" in output) == (1, True)
    Path("orders.binpb").write_bytes(b"\xff\xff")
    assert "orders.binpb is not a descriptor set" in run("breaking", "--against", "orders.binpb")[1]


def test_copies_of_installed_protos_are_not_compiled(protos: Path) -> None:
    """As a repository has them that vendors its imports."""
    for name in ("google/api/annotations.proto", "graphmesh/common/v1/money.proto"):
        copy = protos.parents[3] / name
        copy.parent.mkdir(parents=True)
        copy.write_text((Path(__file__).parents[3] / "protos" / name).read_text() if "graph" in name else "not a proto")
    code, output = run("generate", "--json")
    assert (code, json.loads(output)["packages"]) == (0, ["acme.orders.v1"])


def test_a_folder_without_protos_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("lint") == (1, "protos has no protos\n")
