"""The catalogue of RPCs by their names."""

from pathlib import Path

import pytest
from graphmesh.crm.v1 import CrmService
from graphmesh_cli.commands.rpc_catalogue import UnknownRpc, all_rpcs, find_rpc, joined_rpcs, rpcs_of_file
from graphmesh_cli.failures import Failure

from tests.shipping.contract import NAME, contract


@pytest.mark.parametrize(
    "name",
    [
        "crm.CreateCustomer",
        "graphmesh.crm.v1.CrmService.CreateCustomer",
        "/graphmesh.crm.v1.CrmService/CreateCustomer",
    ],
)
def test_an_rpc_has_three_names(name: str) -> None:
    assert find_rpc(name, {}) == CrmService.CreateCustomer


def test_an_unknown_name_is_refused_with_similar_names() -> None:
    with pytest.raises(UnknownRpc, match=r"there are: crm\.CreateCustomer"):
        find_rpc("crm.createCustomers", {})
    with pytest.raises(UnknownRpc, match=r"billing\.Charge, .*ticketing\."):
        find_rpc("zzz", {})


def test_services_with_a_descriptor_set_are_found_by_the_same_names(tmp_path: Path) -> None:
    """Of the folder of a running mesh, or of a file; a name of graphmesh's own stays."""
    file = tmp_path / f"{NAME}.binpb"
    file.write_bytes(contract())
    for joined in (joined_rpcs(tmp_path), rpcs_of_file(file)):
        for name in ("shipping.Ship", f"{NAME}.Ship", f"/{NAME}/Ship"):
            assert find_rpc(name, joined).request.DESCRIPTOR.full_name == "acme.shipping.v1.ShipRequest"
        assert find_rpc("crm.CreateCustomer", joined) == CrmService.CreateCustomer
        with pytest.raises(UnknownRpc, match=r"there are: shipping\.Ship"):
            find_rpc("shipping.Shipp", joined)
    file.write_bytes(b"<html>")
    with pytest.raises(Failure, match="is not a descriptor set"):
        joined_rpcs(tmp_path)
    with pytest.raises(Failure, match="is not a descriptor set"):
        rpcs_of_file(file)
    assert joined_rpcs(tmp_path / "none") == {}


def test_the_catalogue_has_every_service_of_the_contracts() -> None:
    assert {"billing", "crm", "model", "orchestrator", "retrieval", "sql", "ticketing"} <= {
        tool.partition(".")[0] for tool in all_rpcs()
    }
