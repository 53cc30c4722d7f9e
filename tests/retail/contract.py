"""The contract of the retail service, compiled as its team does it: nothing of it is installed here."""

import tempfile
from functools import cache
from pathlib import Path

from tests.shipping.contract import protoc

FOLDER = Path(__file__).parent
PROTO = "acme/retail/v1/retail.proto"
NAME = "acme.retail.v1.RetailService"


@cache
def contract() -> bytes:
    """Return the serialized descriptor set of the contract."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "retail.binpb")
        options = ("--include_imports", "--include_source_info", f"--descriptor_set_out={out}")
        protoc(Path(scratch), *options, folder=FOLDER, proto=PROTO)
        return out.read_bytes()


def generate_code(out: Path) -> None:
    """Write the Python modules of the contract, which only the service itself has."""
    protoc(out, f"--python_out={out}", f"--grpc_python_out={out}", folder=FOLDER, proto=PROTO)
